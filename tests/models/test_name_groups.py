"""From scores of names to scores of classes."""

from __future__ import annotations

import pytest
import torch

from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.score_maps import resized, score_of_label

FOLDS = (0, 1, 0, 2, 1, 1)
NAMES = ("person", "grass", "sky")


def scores(seed: int = 0) -> torch.Tensor:
    return torch.rand(6, 5, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("merge", ["max", "mean"])
def test_a_class_has_its_best_names_score_or_the_mean(merge):
    maps = scores()
    classes, merged = NameGroups(NAMES, FOLDS, merge).merged(maps)
    assert classes.tolist() == [0, 1, 2]
    for place in range(3):
        own = maps[[index for index, fold in enumerate(FOLDS) if fold == place]]
        torch.testing.assert_close(merged[place], own.amax(0) if merge == "max" else own.mean(0))


def test_names_without_scores_count_as_zero():
    maps, names = scores(), torch.tensor([1, 3])  # of the three names of grass one is scored
    classes, merged = NameGroups(NAMES, FOLDS, "mean").merged(maps[names], names)
    assert classes.tolist() == [1, 2]
    torch.testing.assert_close(merged[0], maps[1] / 3)


def test_names_that_are_classes_stay_as_they_are():
    maps = scores()
    assert one_each(tuple("abcdef")).merged(maps)[1] is maps


def test_absent_classes_are_left_out_and_their_presence_is_told():
    maps = scores() * torch.tensor([0.4, 0.9, 0.4, 0.1, 0.9, 0.9])[:, None, None]
    found = NameGroups(NAMES, FOLDS, least_presence=0.5).class_maps(maps)
    expected = [maps[[0, 2]].max(), maps[[1, 4, 5]].max(), maps[3].max()]
    torch.testing.assert_close(found.presence, torch.stack(expected))
    assert found.classes.tolist() == [1]
    labels, best = found.best((10, 14), 255)
    assert (labels == 1).all()
    torch.testing.assert_close(best, resized(found.scores, (10, 14))[0])


def test_an_image_without_any_class():
    labels, best = NameGroups(NAMES, FOLDS, least_presence=1.0).class_maps(scores() * 0.9).best((4, 6), 255)
    assert (labels == 255).all() and (best == 0).all() and labels.shape == (4, 6)


def test_the_score_of_labels_is_theirs():
    maps = scores()
    labels = torch.randint(0, 6, (10, 14), generator=torch.Generator().manual_seed(1))
    labels[0] = 255
    found = score_of_label(maps, labels)
    large = resized(maps, (10, 14))
    assert (found[0] == 0).all()
    torch.testing.assert_close(found[1:], large.gather(0, labels[None].clamp(max=5))[0, 1:])


def test_other_ways_to_merge_are_refused():
    with pytest.raises(ValueError, match="merge must be one of max, mean"):
        NameGroups(NAMES, FOLDS, "median")
