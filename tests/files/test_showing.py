"""Texts of others are shown, and do nothing."""

import pytest

from hclip_mmseg.files.showing import counted, printable, with_article


@pytest.mark.parametrize(
    "text, shown",
    [
        ("cat, Straße, 猫, e\u0301", "cat, Straße, 猫, e\u0301"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\u202eevil\u2069", "\\u202eevil\\u2069"),
        ("a\u200bb\x00", "a\\u200bb\\x00"),
        ("caf\udce9.png", "caf\\udce9.png"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_steers_a_terminal_becomes_an_escape(text, shown):
    assert printable(text) == shown


def test_one_thing_is_no_plural():
    shown = (counted(1, "image"), counted(0, "image"), counted(1200, "box", "boxes"))
    assert shown == ("1 image", "0 images", "1,200 boxes")


@pytest.mark.parametrize("noun, shown", [
    ("OpenVocabFasterRCNN", "an OpenVocabFasterRCNN"), ("FISASegmentor", "a FISASegmentor"), ("int", "an int"),
])  # fmt: skip
def test_the_article_fits_the_noun(noun, shown):
    assert with_article(noun) == shown
