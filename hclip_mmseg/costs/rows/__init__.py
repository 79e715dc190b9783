"""The rows of the benchmark, each a piece of work in two forms that are compared.

A system is a file here with a tuple ``ROWS`` of :class:`Row`, and stands in the list below. A row's ``prepare(form,
device)`` builds what its form needs, with random weights, and returns the function that is timed. It is called in a
new process for every form; gradients and autocast are as the row says when the function runs, not before. Nothing
may be computed at import: the processes are forked from one that has imported all rows.
"""

from hclip_mmseg.costs.rows import cliptrase, detection, fisa, hclip, maft_plus, training_free
from hclip_mmseg.costs.rows.row import Row, Step

ROWS: dict[str, Row] = {
    row.name: row for system in (hclip, fisa, maft_plus, detection, cliptrase, training_free) for row in system.ROWS
}

__all__ = ["ROWS", "Row", "Step"]
