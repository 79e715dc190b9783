"""Running scripts without a process of their own."""

import itertools
import runpy
import sys

import pytest

NUMBER = itertools.count()


@pytest.fixture
def run_here(repository, monkeypatch, capsys):
    """Runs a script of tools/ in this process: ``run_here(name, *arguments)`` -> (exit code, output, errors)."""

    def run(name, *arguments):
        path = repository / f"tools/{name}.py"
        monkeypatch.setattr(sys, "argv", [str(part) for part in (path, *arguments)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        out, errors = capsys.readouterr()
        return code, out, errors

    return run


@pytest.fixture
def experiment():
    """A setting that gives every run in this process a name of its own, by which MMEngine keeps its parts."""
    return lambda: f"experiment_name=run{next(NUMBER)}"
