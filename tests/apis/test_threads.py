"""An inferencer that several threads share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.models import OpenVocabModel
from hclip_mmseg.vocabularies import as_vocabulary


class Echo(OpenVocabModel, nn.Module):
    """Answers with the names and templates that it is asked for, and gives other threads time to change them."""

    names: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ("{}",)
    smallest_side = 1

    @property
    def vocabulary(self):
        return self.names

    @property
    def templates(self):
        return self.prompts

    def set_vocabulary(self, names, templates=None):
        self.names = as_vocabulary(names).titles
        self.set_templates(templates or self.prompts)

    def set_templates(self, templates):
        self.prompts = (templates,) if isinstance(templates, str) else tuple(templates)


class EchoInferencer(ImageInferencer):
    def answers(self, sources: list[str], images: list[NDArray[np.uint8]]):
        names = self.model.names
        for _ in range(200):
            assert self.model.names == names, "changed while an image was worked on"
        return [(names, self.model.prompts)] * len(images)


IMAGES = [np.zeros((2, 2, 3), np.uint8)] * 25


def test_each_call_is_answered_in_its_own_names_and_templates():
    inferencer = EchoInferencer(Echo(), "cpu")
    asked = [(("cat", "dog"), "a {}"), (("sky",), "the {}"), (("cat", "dog"), "one {}"), (("sea", "car"), "a {}")]
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(lambda question: list(inferencer(IMAGES, *question)), asked))
    assert answers == [[(names, (templates,))] * len(IMAGES) for names, templates in asked]


def test_a_call_without_names_keeps_those_that_were_set_when_it_was_made():
    inferencer = EchoInferencer(Echo(), "cpu")
    with pytest.raises(ValueError, match="no class names"):
        inferencer(IMAGES)
    inferencer.model.set_vocabulary(("cat",))
    first = inferencer(IMAGES)
    inferencer.set_vocabulary("dog, sky")
    assert next(inferencer(IMAGES))[0] == ("dog", "sky") and next(first)[0] == ("cat",)


def test_what_a_model_cannot_be_asked_for_is_refused():
    with pytest.raises(ValueError, match="Identity has a closed list of classes"):
        EchoInferencer(nn.Identity(), "cpu")
    with pytest.raises(ValueError, match="counts nothing one by one: leave stuff out"):
        EchoInferencer(Echo(), "cpu").set_vocabulary("cat, sky", stuff="sky")
