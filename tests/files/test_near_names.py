"""What a mistyped name was meant for."""

from __future__ import annotations

from hclip_mmseg.files.near_names import did_you_mean, near_names

KNOWN = ("LoRA", "POP", "Houlsby")


def test_the_nearest_names_come_first_and_capitals_do_not_matter():
    assert near_names("lora", KNOWN) == ["LoRA"]
    assert near_names("holsby", KNOWN, nearness=0, most=3)[0] == "Houlsby"
    assert near_names("lora", ("lorax", "LoRA"), most=2) == ["LoRA", "lorax"]


def test_a_name_like_no_other_is_not_asked_about():
    assert near_names("zzz", KNOWN) == [] and did_you_mean("zzz", KNOWN) == ""
    assert near_names("PO", KNOWN, nearness=0.9) == []


def test_a_message_asks_about_all_and_says_what_stands_for_them():
    assert did_you_mean("lora", ("lorax", "LoRA"), most=2) == "; did you mean 'LoRA' or 'lorax'?"
    assert did_you_mean("pop", KNOWN, say="adapter=dict(type={})".format) == "; did you mean 'adapter=dict(type=POP)'?"
