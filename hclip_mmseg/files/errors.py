"""The error that a user can mend, and how it is told from a fault of the program."""

from __future__ import annotations

import re


class InputError(ValueError):
    """Raised for data, names, files and settings that are wrong: its text is one line for whoever gave them.

    A command that meets it ends with this line; other errors during a run keep their traceback.
    """


WORKER = re.compile(r"Caught (\w+) in \w+ worker process")


def line_of(error: Exception) -> str:
    """What an error says, without the traceback that torch's data loaders put round an error of a worker process."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    worker = WORKER.match(text)
    if worker is None:
        return text
    said = text.rpartition(f"{worker[1]}: ")[2].strip()
    return said or text
