"""Run lengths of masks: those that pycocotools writes are read, damaged ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from hclip_mmseg.files.run_lengths import compressed_run_lengths
from hclip_mmseg.training_free.sam_masks import read_masks


def coded(mask: np.ndarray) -> dict:
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=list(runs["size"]), counts=runs["counts"].decode())


def masks() -> list[np.ndarray]:
    """Empty, full, noise, and long runs that need several digits and fall and grow again."""
    generator = np.random.default_rng(0)
    stripes = np.zeros((300, 200), bool)
    stripes[:, 3], stripes[5:290, 90:100], stripes[17, 199] = True, True, True
    noise = [generator.random((int(rows), int(columns))) < 0.3 for rows, columns in generator.integers(1, 40, (20, 2))]
    return [np.zeros((4, 5), bool), np.ones((4, 5), bool), stripes, *noise]


def test_compressed_and_listed_run_lengths_are_the_masks():
    for mask in masks():
        runs = coded(mask)
        assert np.array_equal(coco_mask.decode(compressed_run_lengths(runs)), mask)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], mask.T.ravel()])))
        counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
        assert compressed_run_lengths(dict(size=runs["size"], counts=counts))["counts"] == runs["counts"].encode()


def test_of_cut_run_lengths_none_is_taken():
    for mask in masks():
        runs = coded(mask)
        for end in range(len(runs["counts"])):
            with pytest.raises(ValueError, match="run lengths"):
                compressed_run_lengths(dict(runs, counts=runs["counts"][:end]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(counts="52"), "they are of 7 pixels, its size of 6 x 5 is 30"),
        (dict(counts=[11, 3]), "they are of 14 pixels"),
        (dict(counts=[11, 20]), "they are of 31 pixels"),
        (dict(counts=[]), "they are of 0 pixels"),
        (dict(counts=[-1, 31]), "one is -1"),
        (dict(counts="5O"), "one is -1"),
        (dict(counts=[11, 3, 16.0]), "16.0, which is no whole number"),
        (dict(counts="a b"), "no compressed numbers"),
        (dict(counts="5 ä"), "no compressed numbers"),
        (dict(counts="oooooooo0"), "no compressed numbers"),
        (dict(counts=None), "neither a list of numbers nor a compressed text"),
        (dict(size=[6]), "no image is of size"),
    ],
)
def test_damaged_run_lengths(changes, said):
    with pytest.raises(ValueError, match=said):
        compressed_run_lengths({**dict(size=[5, 6], counts=[30]), **changes})


def test_the_mask_of_a_file_that_is_damaged_is_named(tmp_path):
    runs = coded(np.eye(6, dtype=bool))
    entries = [dict(segmentation=runs), dict(segmentation=dict(runs, counts=runs["counts"][:-2]))]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"a\.json holds .*mask 1: its run lengths are damaged: they are of"):
        read_masks(tmp_path / "a.json")
