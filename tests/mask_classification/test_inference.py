"""From mask embeddings to scores, and from scored masks to results, against loops and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.mask_classification import (
    MaskClasses,
    SynonymTable,
    class_scores,
    inference,
    instances,
    panoptic_ids,
    semantic_labels,
    semantic_scores,
)
from hclip_mmseg.mask_classification.inference import without_padding
from hclip_mmseg.mask_classification.segments import list_segments
from hclip_mmseg.results import Result, Segment


def test_synonyms_share_words_and_the_best_counts():
    table = SynonymTable(("car, automobile", "wheel", "automobile, van ,van"))
    assert table.words == ("car", "automobile", "wheel", "van")
    assert table.best(torch.tensor([[1.0, 2.0, 0.0, 5.0]])).tolist() == [[2.0, 0.0, 5.0]]
    with pytest.raises(ValueError, match=r"class name 1 \(' , '\) holds no word"):
        SynonymTable(("cat", " , "))


@pytest.mark.parametrize("scale", [math.log(20.0), 9.0])
def test_logits_are_scaled_cosines_of_the_best_synonym_and_void_last(scale):
    torch.manual_seed(0)
    table = SynonymTable(("car, automobile", "wheel"))
    classes = MaskClasses(8)
    embeddings, words = torch.randn(1, 4, 8), torch.randn(3, 8)
    logits = classes(embeddings, words, table, torch.tensor(scale)).detach()
    factor = min(math.exp(scale), 100.0)
    for q in range(4):
        cosines = [factor * float(F.cosine_similarity(embeddings[0, q], word, dim=0)) for word in words]
        void = factor * float(F.cosine_similarity(embeddings[0, q], classes.void[0].detach(), dim=0))
        expected = [max(cosines[0], cosines[1]), cosines[2], void]
        assert logits[0, q].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_scores_are_softmax_over_names_times_what_void_leaves():
    logits = torch.randn(2, 3, 5)
    void = torch.rand(2, 3)
    scores = class_scores(logits, void)
    for b in range(2):
        for q in range(3):
            weights = [math.exp(float(x)) for x in logits[b, q, :-1]]
            expected = [(1 - float(void[b, q])) * w / sum(weights) for w in weights] + [float(void[b, q])]
            assert scores[b, q].tolist() == pytest.approx(expected, rel=1e-4)
    own = logits.softmax(-1)
    torch.testing.assert_close(class_scores(logits, own[..., -1]), own)
    torch.testing.assert_close(class_scores(logits), own)


def test_semantic_result_is_the_sum_over_masks():
    torch.manual_seed(0)
    scores, masks = torch.rand(4, 7), torch.rand(4, 3, 5)
    for memory in (0, 7 * 4 * 5 * 2, 2**25):  # a row, two rows, all at once
        labels = semantic_labels(scores, masks, memory)
        for y in range(3):
            for x in range(5):
                sums = [sum(float(scores[q, t] * masks[q, y, x]) for q in range(4)) for t in range(7)]
                assert int(labels[y, x]) == sums.index(max(sums))
                assert semantic_scores(scores, masks)[:, y, x].tolist() == pytest.approx(sums, rel=1e-4)


THINGS = torch.tensor([True, True, False])  # cat, dog, grass; void is 3


def blocks(*columns: tuple[int, int], width: int = 12, inside: float = 0.9, outside: float = 0.1) -> torch.Tensor:
    masks = torch.full((len(columns), 4, width), outside)
    for mask, (start, end) in zip(masks, columns, strict=True):
        mask[:, start:end] = inside
    return masks


def one_hot(*pairs: tuple[int, float]) -> torch.Tensor:
    """Scores [Q, 4] with the given value at the given name, the rest shared."""
    scores = torch.zeros(len(pairs), 4)
    for row, (name, value) in zip(scores, pairs, strict=True):
        row[:] = (1 - value) / 3
        row[name] = value
    return scores


def row_of(ids: torch.Tensor) -> list[int]:
    assert all(torch.equal(ids[0], row) for row in ids)
    return ids[0].tolist()


def test_things_are_counted_and_stuff_is_merged():
    masks = blocks((0, 3), (3, 6), (6, 8), (10, 12))
    ids = panoptic_ids(one_hot((0, 0.95), (0, 0.9), (2, 0.9), (2, 0.85)), masks, THINGS)
    assert row_of(ids) == [1000] * 3 + [2000] * 3 + [1002] * 2 + [3] * 2 + [1002] * 2


def test_no_segments_id_is_that_of_no_segment():
    ids = panoptic_ids(one_hot((0, 0.95)), blocks((0, 12)), torch.tensor([False, True, True]))
    assert row_of(ids) == [1000] * 12


def test_masks_of_nothing_and_of_low_scores_are_left_out():
    scores, masks = one_hot((3, 0.95), (1, 0.75), (0, 0.85)), blocks((0, 4), (4, 8), (8, 12))
    assert row_of(panoptic_ids(scores, masks, THINGS)) == [3] * 8 + [1000] * 4
    assert row_of(panoptic_ids(scores, masks, THINGS, object_threshold=0.7)) == [3] * 4 + [1001] * 4 + [2000] * 4
    assert row_of(panoptic_ids(scores, masks, THINGS, object_threshold=0.96)) == [3] * 12


def test_a_mask_that_loses_too_much_of_itself_is_dropped():
    # the second mask covers columns 2 to 12, and loses 2 to 6 to the first, whose score is higher: 6 of 10 are kept
    scores, masks = one_hot((0, 0.95), (1, 0.85)), blocks((0, 6), (2, 12))
    assert row_of(panoptic_ids(scores, masks, THINGS, overlap_threshold=0.6)) == [1000] * 6 + [2001] * 6
    assert row_of(panoptic_ids(scores, masks, THINGS, overlap_threshold=0.61)) == [1000] * 6 + [3] * 6


def test_pixels_outside_of_every_mask_belong_to_none_though_one_claims_them():
    ids = panoptic_ids(one_hot((0, 0.95)), blocks((2, 5), outside=0.4), THINGS)
    assert row_of(ids) == [3] * 2 + [1000] * 3 + [3] * 7
    soft = blocks((2, 5), inside=0.49)
    assert row_of(panoptic_ids(one_hot((0, 0.95)), soft, THINGS)) == [3] * 12


def test_ids_need_fewer_names_than_their_step():
    with pytest.raises(ValueError, match="999 names apart, the vocabulary has 1000"):
        panoptic_ids(torch.rand(1, 1001), torch.rand(1, 2, 2), torch.ones(1000, dtype=torch.bool))


@pytest.mark.parametrize("rows", [0, 1, 5, 100])
def test_results_are_the_same_in_bands_of_rows(rows):
    torch.manual_seed(0)
    masks = F.interpolate(4 * torch.randn(1, 8, 3, 3), size=(13, 12), mode="bilinear")[0].sigmoid()
    scores = (3 * torch.randn(8, 4)).softmax(-1)
    plain = torch.einsum("qt,qhw->thw", scores[:, :3], masks).argmax(0)
    assert torch.equal(semantic_labels(scores[:, :3], masks, memory=3 * 4 * 12 * rows), plain)
    best, names = scores.max(-1)
    kept = [q for q in range(8) if names[q] != 3 and best[q] > 0.4]
    assert 2 < len(kept) < 8
    owner = (best[kept, None, None] * masks[kept]).argmax(0)
    expected, instance = torch.full((13, 12), 3), 0
    for number, q in enumerate(kept):
        whole = masks[q] >= 0.5
        mine = owner == number
        if (mine & whole).any() and mine.sum() >= 0.3 * whole.sum():
            instance += int(THINGS[names[q]])
            expected[mine & whole] = int(names[q]) + 1000 * (instance if THINGS[names[q]] else 1)
    found = panoptic_ids(scores, masks, THINGS, 0.4, 0.3, memory=2 * len(kept) * 4 * 12 * rows)
    assert len(expected.unique()) > 2 and torch.equal(found.long(), expected)


def test_no_more_rows_than_memory_allows_are_worked_on_at_once(monkeypatch):
    sizes = []
    plain = inference.semantic_scores

    def measured(scores, masks):
        sizes.append(4 * scores.shape[1] * masks[0].numel())
        return plain(scores, masks)

    monkeypatch.setattr(inference, "semantic_scores", measured)
    semantic_labels(torch.rand(4, 150), torch.rand(4, 500, 400))
    assert len(sizes) > 2 and max(sizes) <= inference.MAP_MEMORY and sum(sizes) == 4 * 150 * 500 * 400


def test_instances_are_the_best_pairs_of_a_mask_and_a_thing():
    scores = torch.tensor([[0.5, 0.2, 0.9], [0.1, 0.6, 0.8]])
    masks = blocks((0, 3), (5, 11))
    found = instances(scores, masks, THINGS, most=3)
    assert found.labels.tolist() == [1, 0, 1] and found.masks.shape == (3, 4, 12)
    assert found.scores.tolist() == pytest.approx([0.6 * 0.9, 0.5 * 0.9, 0.2 * 0.9], rel=1e-4)
    assert torch.equal(found.masks[0], masks[1] > 0.5) and torch.equal(found.masks[2], masks[0] > 0.5)
    assert found.bboxes[0].tolist() == [5, 0, 11, 4]
    assert len(instances(scores, masks, THINGS, most=100)) == 4
    assert len(instances(scores, masks, torch.zeros(3, dtype=torch.bool))) == 0


def test_padding_is_cut_at_the_resolution_of_the_padded_image():
    ramp = torch.arange(8.0).expand(1, 4, 8)
    cut = without_padding(ramp, (16, 32), (10, 20))
    whole = F.interpolate(ramp[None], size=(16, 32), mode="bilinear")[0]
    assert torch.equal(cut, whole[:, :10, :20])


def test_segments_are_listed_by_size_and_instances_numbered():
    raw = np.array([[1000, 1000, 1000, 2000], [1002, 1002, 1002, 1002], [3, 3, 3001, 3001]])
    ids, segments = list_segments(raw, ("cat, kitten", "dog", "grass"), (True, True, False))
    assert ids[2].tolist() == [0, 0, 3001, 3001] and ids[:2].tolist() == raw[:2].tolist()
    assert segments == (
        Segment(1002, 2, False, "grass", 4 / 12),
        Segment(1000, 0, True, "cat 1", 3 / 12),
        Segment(3001, 1, True, "dog", 2 / 12),
        Segment(2000, 0, True, "cat 2", 1 / 12),
    )


def test_a_drawing_colours_each_segment_and_writes_its_word_on_it():
    ids = np.zeros((300, 400), np.int32)
    ids[:, :200], ids[:, 250:] = 1000, 2000
    segments = (Segment(1000, 0, True, "cat 1", 0.5), Segment(2000, 0, True, "cat 2", 0.375))
    image = np.full((300, 400, 3), 100, np.uint8)
    result = Result("", image, ("cat",), ids=ids, segments=segments)
    drawn = result.overlay(legend=False)
    assert drawn.shape == image.shape and (drawn[:, 205:245] == 100).all()
    first, second = drawn[10, 10], drawn[10, 390]
    assert not np.array_equal(first, second), "two cats can be told apart"
    changed = (drawn[:, :198] != first).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert 140 < rows.mean() < 160 and 90 < columns.mean() < 110, "the word stands in the middle of its region"
    assert result.overlay().shape[1] > 400
