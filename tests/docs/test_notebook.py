"""The tutorial notebook runs from its first cell to its last, and what it says is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient runs the notebook: pip install nbclient ipykernel")
nbformat = pytest.importorskip("nbformat", reason="nbformat reads the notebook: pip install nbformat")
pytest.importorskip("ipykernel", reason="ipykernel is the notebook's Python: pip install ipykernel")

REPORT = """
import json
print(json.dumps(dict(
    accuracy=float(accuracy),
    found=list(result.shares()),
    asked={count: list(found.vocabulary) for count, found in asked.items()},
    scores=list(scored.scores.shape),
    inside=[float(scored.scores[index][truth == index].mean()) for index in range(4)],
    outside=[float(scored.scores[index][truth != index].mean()) for index in range(4)],
    orthogonality=float(error),
    difference=difference,
    turned=float((backbone.adapter.turns("text") - torch.eye(blocks.shape[-1])).abs().max()),
    metrics={name: float(value) for name, value in metrics.items()},
)))
"""


@pytest.fixture(scope="module")
def notebook(repository):
    return nbformat.read(repository / "docs/tutorials/tour.ipynb", as_version=4)


@pytest.fixture(scope="module")
def reported(notebook, repository: Path) -> dict:
    """What the notebook's variables hold after its last cell."""
    executed = nbformat.from_dict(notebook)
    executed.cells.append(nbformat.v4.new_code_cell(REPORT))
    folder = repository / "docs/tutorials"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(repository))
        patch.setenv("MPLBACKEND", "agg")
        nbclient.NotebookClient(
            executed, timeout=600, kernel_name="python3", resources=dict(metadata=dict(path=str(folder)))
        ).execute()
    return json.loads(executed.cells[-1].outputs[-1]["text"])


def test_no_outputs_are_committed(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)


def test_the_scene_is_segmented(reported):
    assert {"yellow striped star", "green striped cross", "red dotted circle", "snow"} <= set(reported["found"])
    assert reported["accuracy"] > 0.8
    assert reported["scores"] == [6, 192, 192]
    objects = list(zip(reported["inside"], reported["outside"], strict=True))[:3]
    assert all(inside > outside for inside, outside in objects)


def test_class_names_are_changed(reported):
    assert reported["asked"]["4"] == ["star", "cross", "circle", "snow"] and len(reported["asked"]["78"]) == 78


def test_folding_keeps_the_outputs(reported):
    assert reported["difference"] < 1e-4
    assert reported["orthogonality"] < 1e-5 < 1e-2 < reported["turned"]


def test_metrics_are_reported(reported):
    assert 20 < reported["metrics"]["mIoU"] < 100
