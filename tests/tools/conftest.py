"""Runs in this process."""

import itertools

import pytest

NUMBER = itertools.count()


@pytest.fixture
def experiment():
    """A setting that gives every run in this process a name of its own, by which MMEngine keeps its parts."""
    return lambda: f"experiment_name=run{next(NUMBER)}"
