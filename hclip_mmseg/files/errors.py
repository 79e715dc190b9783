"""The error that a user can mend, and how it is told from a fault of the program."""

from __future__ import annotations

import errno
import re

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left, a quota used up, a file larger than the file system or the process's limit takes."""


class InputError(ValueError):
    """Raised for data, names, files and settings that are wrong: its text is one line for whoever gave them.

    A command that meets it ends with this line; other errors during a run keep their traceback.
    """


class WriteError(InputError):
    """Raised where a file cannot be written: which, and why."""


class FullDiskError(WriteError):
    """Raised where a file cannot be written for lack of space, as no other file can be."""


WORKER = re.compile(r"Caught (\w+) in \w+ worker process")


def line_of(error: Exception) -> str:
    """What an error says, without the traceback that torch's data loaders put round an error of a worker process."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, KeyError) and " " not in text:  # of a dictionary
        return f"'{text}' is looked for and is not there: a value that does not exist, or an entry that lacks"
    worker = WORKER.match(text)
    if worker is None:
        return text
    said = text.rpartition(f"{worker[1]}: ")[2].strip()
    return said or text


def one_line(error: BaseException) -> str:
    """The first line of what an error of another package says; its kind where it says nothing."""
    said = str(error).strip().split("\n")[0]
    return said or type(error).__name__


def lack_of_space(error: BaseException | None) -> OSError | None:
    """The operating system's refusal of more space, if an error is one or came of one; else None.

    torch's and Pillow's writers raise errors of their own while they end, and this is what they ended for.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def full_disk_line(place: object, error: OSError) -> str:
    """What is said where a disk is full; ``place`` is the file or folder that was written to."""
    return f"{place} cannot be written: {error.strerror}. Free some space there, and give the command again"
