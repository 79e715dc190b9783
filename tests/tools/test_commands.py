"""The scripts of tools/ and the commands that are installed: the same functions, quick to answer, the clone's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module

import pytest
from hclip_tools import arguments

from hclip_mmseg.apis.settings import read_settings

COMMANDS = {
    "hclip-train": "train",
    "hclip-test": "test",
    "hclip-predict": "predict",
    "hclip-prepare": "prepare_dataset",
    "hclip-new-dataset": "new_dataset",
    "hclip-convert": "convert_checkpoint",
    "hclip-fold": "fold_adapters",
    "hclip-export": "export",
    "hclip-visualize": "visualize",
    "hclip-models": "models",
    "hclip-download": "download",
}


def run(*command, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, **options)


def test_commands_are_the_scripts_functions(repository):
    text = (repository / "pyproject.toml").read_text()
    declared = dict(re.findall(r'^(hclip-[\w-]+) = "hclip_tools\.(\w+):main"$', text, re.MULTILINE))
    assert COMMANDS.items() <= declared.items()
    for script in declared.values():
        module = import_module(f"hclip_tools.{script}")
        assert module.__file__ == str(repository / f"tools/{script}.py") and callable(module.main)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt, 130, "stopped; what was finished before is kept\n"), (BrokenPipeError, 141, "")],
)
def test_a_command_ends_without_a_traceback(error, code, said, repository):
    program = (
        "from hclip_tools import arguments\n"
        f"@arguments.command(lambda argv: argv)\ndef main(args):\n    raise {error.__name__}\n"
        "main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository / "tools")}
    ended = run("-c", f"import clone\n{program}", env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", said)


def test_every_script_ends_so(repository):
    for path in (repository / "tools").glob("*.py"):
        text = path.read_text()
        assert "def main(" not in text or "\n@arguments.command(parse_arguments)\ndef main(" in text, path


@pytest.mark.parametrize("script", COMMANDS.values())
def test_help_comes_before_anything_heavy_is_imported(repository, tmp_path, script):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(repository / 'tools' / script) + '.py'!r}, run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    print(ended.code, sorted({'torch', 'numpy', 'mmengine', 'rich', 'hclip_mmseg'} & set(sys.modules)))\n"
    )
    ended = run("-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(repository / "tools")})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("usage: ") and ended.stdout.endswith("0 []\n")


def test_a_clones_scripts_run_the_clones_code(repository, tmp_path):
    """Another clone's script, started with this one on the path, says what only its own package can know."""
    clone = tmp_path / "clone"
    shutil.copytree(repository / "tools", clone / "tools")
    (clone / "hclip_mmseg/apis").mkdir(parents=True)
    (clone / "hclip_mmseg/__init__.py").touch()
    (clone / "hclip_mmseg/apis/__init__.py").touch()
    (clone / "hclip_mmseg/apis/prepare.py").write_text("prepare_dataset = None\nlist_preparations = lambda: __file__\n")
    (clone / "hclip_mmseg/apis/launch.py").touch()
    ended = run(clone / "tools/prepare_dataset.py", "--list", cwd=repository, env={"PYTHONPATH": str(repository)})
    assert ended.stdout.strip() == str(clone / "hclip_mmseg/apis/prepare.py"), ended.stderr


def test_settings_are_read_as_mmengine_reads_them():
    import argparse

    parser = argparse.ArgumentParser()
    arguments.add_run_arguments(parser)
    args = parser.parse_args(
        ["c.py", "--cfg-options", "a.b=1", "c=x=y", "--cfg-options", "d=[(1,2),(3,4)]", "e=None", "f=0.5", "g=true"]
    )
    read = read_settings(args.cfg_options)
    assert read == {"a.b": 1, "c": "x=y", "d": [(1, 2), (3, 4)], "e": None, "f": 0.5, "g": True}
    assert read_settings(parser.parse_args(["c.py"]).cfg_options) == {}


def test_a_setting_without_a_value_is_refused_at_once(capsys):
    from hclip_tools import train

    with pytest.raises(SystemExit) as ended:
        train.parse_arguments(["c.py", "--cfg-options", "lr"])
    assert ended.value.code == 2 and "takes settings KEY=VALUE, not 'lr'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        ("predict", ["a.png", "--vocb", "cat"], "no option '--vocb'; did you mean '--vocab'?"),
        ("predict", ["a.png", "-vocab", "cat"], "no option '-vocab'; did you mean '--vocab'?"),
        ("test", ["c.py", "w.pth", "--benchmark=A-150", "--ofline"], "no option '--ofline'; did you mean '--offline'?"),
        ("export", ["c.py", "--halff"], "no option '--halff'; did you mean '--half'?"),
        ("count_costs", ["fisa", "--modle", "x"], "no option '--modle'; did you mean '--model'?"),
        ("demo", ["--xyz"], "no option '--xyz'; --help lists them"),
    ],
)
def test_an_unknown_option_is_asked_about_before_what_is_lacking(script, given, said, capsys):
    with pytest.raises(SystemExit) as ended:
        import_module(f"hclip_tools.{script}").parse_arguments(given)
    assert ended.value.code == 2 and capsys.readouterr().err.splitlines()[-1].endswith(f"error: there is {said}")


def test_values_that_begin_with_a_minus_are_no_options():
    from hclip_tools import predict

    args = predict.parse_arguments(["--vocab", "cat", "--threshold", "-1", "--templates", "-- {} --", "-"])
    assert (args.threshold, args.templates, args.images) == ("-1", "-- {} --", ["-"])
    assert predict.parse_arguments(["--voc", "cat", "--", "--photo.png"]).images == ["--photo.png"]


@pytest.mark.parametrize("option", [("--smooth", "0.5"), ("--every", "2")])
def test_what_is_for_videos_is_refused_of_images(option, capsys):
    from hclip_tools import predict

    with pytest.raises(SystemExit):
        predict.parse_arguments(["a.png", "--vocab", "cat", *option])
    assert "--every and --smooth are for a --video" in capsys.readouterr().err


def test_every_script_asks_so(repository):
    for path in (repository / "tools").glob("*.py"):
        assert path.stem in ("arguments", "count_costs") or "argparse.ArgumentParser(" not in path.read_text(), path
