"""The tables of docs/models.md are what the metafiles say; what takes too long to measure is left out and said."""

from __future__ import annotations

import importlib.util
import json
import sys
from concurrent.futures.process import BrokenProcessPool

from miniature import REPOSITORY


def script(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"docs/{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_tables_are_what_the_metafiles_say():
    table = script("models_table")
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run python docs/models_table.py"


def test_a_model_that_takes_too_long_keeps_what_was_found_and_is_named(tmp_path, monkeypatch, capsys):
    measuring = script("measure_models")
    found = dict(image_s=1.0, names_s=2.0, peak_mib=3)
    results = tmp_path / "measured.json"
    results.write_text(json.dumps({"models": {"known": {"20": found, "150": found}}, "machine": "another"}))
    names = ["known", "quick", "slow", "slower", "faulty"]
    kept = {"quick": {"20": found, "150": found}, "slow": {"20": found}}
    asked = []

    def apart(function, *arguments):
        if function is measuring.measurable:
            return names
        if function is measuring.prepare:
            asked.append(arguments[0])
            if arguments[0] == "faulty":
                raise ValueError("no such part")
            return None
        folder, limit = arguments
        assert limit == 5
        if asked[-1] in kept:
            (folder / measuring.FOUND).write_text(json.dumps(kept[asked[-1]]))
        if asked[-1] != "quick":
            raise BrokenProcessPool  # as the system ends the process
        return None

    monkeypatch.setattr(measuring, "apart", apart)
    monkeypatch.setattr(measuring, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["measure_models.py", "--missing", "--limit", "5"])
    measuring.main()
    assert asked == names[1:]
    assert json.loads(results.read_text())["models"] == {"known": {"20": found, "150": found}, **kept}
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "left out: slow, 150 names: took longer than 5 s",
        "left out: slower, 20 names and 150 names: took longer than 5 s",
        "left out: faulty: no such part",
    ]
