"""What every model of this project promises: class names in, and what it can do said by its class."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeGuard

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from hclip_mmseg.models.arithmetic import inference_arithmetic
from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.equal_sizes import of_equal_sizes
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.vocabularies import Names, read_vocabulary


class OpenVocabModel(ABC):
    """A model that is asked for class names, which can be replaced at any time.

    To be listed before MMSegmentation's or MMDetection's class among a model's bases.

    Attributes:
        training_free: whether the model is complete without a checkpoint.
        takes_names: whether it can be asked for names; clusters have none.
        gives_label_maps: whether its result holds a class for every pixel (``pred_sem_seg``).
        gives_panoptic: whether it can tell things, counted one by one, from stuff.
        backbone: CLIP.
        text_encoder: the neck that owns names, templates and embeddings.
        data_preprocessor: MMEngine's, which knows the device.
        bf16: whether :meth:`test_step` computes products in bfloat16.
    """

    training_free: ClassVar[bool] = False
    takes_names: ClassVar[bool] = True
    gives_label_maps: ClassVar[bool] = True
    gives_panoptic: ClassVar[bool] = False

    backbone: CLIPBackbone
    text_encoder: TextEncoderNeck
    data_preprocessor: Any
    bf16: bool = False

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order; () before any were set."""
        return self.text_encoder.vocabulary

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompt templates that every name is put into."""
        return self.text_encoder.templates

    @property
    def dataset_meta(self) -> Mapping[str, Any]:
        """What MMSegmentation's and MMDetection's own APIs read of a model's classes: their names and colours.

        As a checkpoint's data set has them, unless the model was asked for other names since.
        """
        meta: Mapping[str, Any] = self.__dict__.get("_dataset_meta") or {}
        names = self.vocabulary
        if not names or (names == _asked(meta) and meta.get("palette")):
            return meta
        return {**meta, "classes": names, "palette": name_colours(names).tolist()}

    @dataset_meta.setter
    def dataset_meta(self, meta: Mapping[str, Any]) -> None:
        """Look for the data set's class names if no others were asked for."""
        self.__dict__["_dataset_meta"] = meta
        names = _asked(meta or {})
        if names and not self.vocabulary:
            self.set_vocabulary(names)

    @property
    def out_channels(self) -> int:
        """Score maps of a result, at least 2: MMSegmentation's wrappers take a single one for a binary mask."""
        return max(len(self.vocabulary), 2)

    @out_channels.setter
    def out_channels(self, channels: int) -> None:
        """MMSegmentation sets the head's, which here has no fixed number: nothing changes."""
        del channels

    @property
    def smallest_side(self) -> int:
        """The smallest height and width of images that the model takes, in pixels."""
        side: int = self.backbone.image_tower.patch_size
        return side

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """Replace what the model looks for.

        Args:
            names: class names in label order; see :func:`~hclip_mmseg.vocabularies.read_vocabulary`.
            templates: prompt templates, None keeps the present ones.

        Raises:
            ValueError: if names are empty, doubled or too long; the vocabulary stays as it was.
        """
        self.text_encoder.set_vocabulary(read_vocabulary(names), templates)

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Ask for the same names in other prompts.

        Raises:
            ValueError: if a template has no place for the name, or a prompt becomes too long; nothing changes then.
        """
        self.text_encoder.set_templates(templates)

    def test_step(self, data: Any) -> list[Any]:
        """The results of a batch of a test, as they are image by image, whatever the images' sizes.

        Computed by :func:`~hclip_mmseg.models.arithmetic.inference_arithmetic`.
        """
        results: list[Any] = []
        with inference_arithmetic(self.data_preprocessor.device, self.bf16):
            for part in of_equal_sizes(data):
                results += super().test_step(part)  # type: ignore[misc]
        return results

    def val_step(self, data: Any) -> list[Any]:
        """As :meth:`test_step`."""
        return self.test_step(data)


def _asked(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a data set is asked for."""
    return tuple(meta.get("vocabulary") or meta.get("classes") or ())


def model_inside(model: nn.Module) -> Any:
    """The model inside wrappers that distribute it, or augment its images in testing."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule("module")
    return model


def is_open_vocab(kind: object) -> TypeGuard[type[OpenVocabModel]]:
    """Whether what a registry holds under a model's type is an open-vocabulary model's class."""
    return isinstance(kind, type) and issubclass(kind, OpenVocabModel)
