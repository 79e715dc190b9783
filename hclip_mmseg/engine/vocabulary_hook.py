"""The vocabulary follows the dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.open_vocab_model import model_inside
from hclip_mmseg.vocabularies import as_vocabulary


@HOOKS.register_module()
class VocabularyHook(Hook):
    """Gives the model the classes of the dataset at hand.

    Training classes in training; the evaluated dataset's in validation and test. Models that take no names are left
    alone.

    Args:
        follow: False keeps the vocabulary that the model was built with.
    """

    priority = "ABOVE_NORMAL"

    def __init__(self, follow: bool = True) -> None:
        self.follow = follow

    def before_train(self, runner: Runner) -> None:
        """The training dataset's classes.

        Raises:
            ValueError: if the dataset asks for several names a class: its labels are no indices of names.
        """
        dataset = runner.train_dataloader.dataset
        if self.follow and takes_names(runner) and dataset.metainfo.get("folds") is not None:
            raise InputError(
                f"{type(dataset).__name__} can be tested on but not trained on: it asks for several names a class, and "
                "its labels do not tell which of them a pixel shows"
            )
        self._follow(runner, runner.train_dataloader)

    def before_val_epoch(self, runner: Runner) -> None:
        """The validation dataset's classes."""
        self._follow(runner, runner.val_dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Back to the training dataset's classes."""
        if runner.train_dataloader is not None and not isinstance(runner.train_dataloader, dict):
            self._follow(runner, runner.train_dataloader)

    def before_test_epoch(self, runner: Runner) -> None:
        """The tested dataset's classes."""
        self._follow(runner, runner.test_dataloader)

    def _follow(self, runner: Runner, dataloader: Any) -> None:
        if not self.follow or not takes_names(runner):
            return
        if dataloader.dataset.metainfo.get("mixed") and dataloader is not runner.train_dataloader:
            raise InputError(
                "MixedDataset is for training: samples are scored on the names of their own data sets there alone; "
                "evaluate one data set, or several with tools/test.py --benchmarks"
            )
        ask_for_classes(model_inside(runner.model), dataloader.dataset)


def ask_for_classes(model: Any, dataset: Any) -> None:
    """Give a model the names that a data set is asked for.

    Raises:
        ValueError: if the data set has none.
    """
    metainfo = dataset.metainfo
    classes = metainfo.get("classes")
    if classes is None:
        raise InputError(
            f"{type(dataset).__name__} has no 'classes' in its metainfo, so the model cannot know "
            "what to look for; give the dataset classes, or set default_hooks=dict(vocabulary=dict(follow=False))"
        )
    vocabulary = as_vocabulary(metainfo.get("vocabulary", classes), repeats=True)
    if metainfo.get("whole"):
        vocabulary = replace(vocabulary, whole=True)
    if "thing_classes" in metainfo:  # panoptic sets tell things from stuff
        counted = set(metainfo["thing_classes"])
        titles = zip(vocabulary.titles, classes, strict=True)
        vocabulary = vocabulary.with_stuff([title for title, name in titles if name not in counted])
    model.set_vocabulary(vocabulary)


def takes_names(runner: Runner) -> bool:
    """Whether a run's model can be asked for class names."""
    model = model_inside(runner.model)
    return bool(getattr(model, "takes_names", hasattr(model, "set_vocabulary")))
