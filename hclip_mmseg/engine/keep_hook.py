"""What a fine-tuning keeps of what CLIP knew: figures of names that it does not train, and drift of embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import torch
import torch.nn.functional as F
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS
from rich.console import Console
from rich.table import Table
from torch import Tensor

from hclip_mmseg.engine.comparison_hook import evaluate
from hclip_mmseg.engine.vocabulary_hook import ask_for_classes
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_figure, write_whole
from hclip_mmseg.models.frozen import frozen_clip_config
from hclip_mmseg.models.losses.held_names import first_names
from hclip_mmseg.models.open_vocab_model import model_inside

FROZEN = "frozen CLIP"
MIOUS = {"mIoU": "all", "mIoU_seen": "trained", "mIoU_unseen": "held out", "foreign": "foreign"}
DRIFTS = {"text_drift": "text drift", "image_drift": "image drift"}


@HOOKS.register_module()
class KeepHook(Hook):
    """Measures, before training and at every validation, what names that are not trained lose.

    A row is: mIoU of all, trained and held-out names in the validation set; mIoU of a foreign data set; drift of text
    and image embeddings, the mean of 1 - cos to plain CLIP's, in [0, 2]. The first row is the frozen CLIP's, compared
    with names token by token. Rows go to ``keep.json`` and ``keep.png`` in the run's folder, as soon as each is known,
    and a table is printed at the end.

    For segmentors that have CLIP as their backbone.

    Args:
        foreign: a data set that is not trained on, with its pipeline; None: none.
        names: whose text embeddings are compared; see :func:`~hclip_mmseg.models.losses.held_names.first_names`.
        images: how many validation images are compared.
        strengths: of the adapter that are tried after training, where it has a ``strength``; () for none.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        foreign: Mapping[str, Any] | None = None,
        names: Sequence[str] = ("ade20k_847", "pascal_context_459"),
        images: int = 8,
        strengths: Sequence[float] = (0.25, 0.5, 0.75),
    ) -> None:
        self.foreign = foreign
        self.names, self.images, self.strengths = first_names(names), images, tuple(strengths)
        self.rows: list[dict[str, Any]] = []
        self._loader: Any = None
        self._evaluator: Any = None
        self._text = self._tokens = self._batch = torch.empty(0)

    def before_train(self, runner: Runner) -> None:
        """Measure the frozen CLIP, or read the rows of a run that goes on."""
        if self.foreign is not None:
            loader = dict(batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
            self._loader = runner.build_dataloader({**loader, "dataset": dict(self.foreign)})
            self._evaluator = runner.build_evaluator(
                dict(
                    type="mmseg.OpenVocabIoUMetric",
                    iou_metrics=["mIoU"],
                    ignore_index=self._loader.dataset.ignore_index,
                )
            )
            self._evaluator.dataset_meta = self._loader.dataset.metainfo
        device = next(runner.model.parameters()).device
        self._batch = self._images_of(runner).to(device)
        plain = MODELS.build({**runner.cfg.model.to_dict()["backbone"], "adapter": None}).to(device).eval()
        self._text, self._tokens = self._embeddings(plain, runner)
        if runner.iter:
            self.rows = [row for row in _read(self._path(runner)) if row["step"] <= runner.iter]
        if self.rows:
            return
        model = MODELS.build(frozen_clip_config(runner.cfg.model.to_dict())).to(device).eval()
        found = evaluate(model, runner.val_loop.dataloader, runner.val_loop.evaluator)
        self._add(runner, FROZEN, found | self._of_foreign(model) | {"text_drift": 0.0, "image_drift": 0.0})

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add a row."""
        if metrics and self.rows:
            self._add(runner, f"step {runner.iter}", metrics | self._measured(runner))

    def after_train(self, runner: Runner) -> None:
        """Try the adapter's strengths, and print the table."""
        model = model_inside(runner.model)
        adapter = model.backbone.adapter
        if adapter is not None and adapter.has_strength:
            trained = adapter.strength
            model.eval()
            for strength in self.strengths:
                self._set_strength(model, strength)
                found = evaluate(model, runner.val_loop.dataloader, runner.val_loop.evaluator)
                self._add(runner, f"strength {strength:g}", found | self._measured(runner))
            self._set_strength(model, trained)
        if is_main_process():
            Console().print(self.table())

    def table(self) -> Table:
        """All rows."""
        columns = {key: title for key, title in (MIOUS | DRIFTS).items() if any(key in row for row in self.rows)}
        table = Table("", *columns.values(), title="what was kept: mIoU in percent, drift 1 - cos")
        for row in self.rows:
            table.add_row(
                row["name"], *(f"{row[key]:.{3 if key in DRIFTS else 1}f}" if key in row else "" for key in columns)
            )
        return table

    def _measured(self, runner: Runner) -> dict[str, float]:
        """What this hook itself measures of the model that is trained, which keeps its names."""
        model = model_inside(runner.model)
        foreign = self._of_foreign(model)
        ask_for_classes(model, runner.train_dataloader.dataset)
        text, tokens = self._embeddings(model.backbone, runner)
        return foreign | {"text_drift": drift(text, self._text), "image_drift": drift(tokens, self._tokens)}

    def _of_foreign(self, model: Any) -> dict[str, float]:
        return {} if self._loader is None else {"foreign": evaluate(model, self._loader, self._evaluator)["mIoU"]}

    @torch.no_grad()
    def _embeddings(self, backbone: Any, runner: Runner) -> tuple[Tensor, Tensor]:
        """Of the names [T, P, C], and of the images' tokens [B, h, w, C]."""
        neck = MODELS.build({**runner.cfg.model.text_encoder, "vocabulary": self.names})
        text = neck(backbone.encode_text, backbone.text_parameters())
        return text, torch.cat([backbone(image[None]).dense for image in self._batch]).movedim(1, -1)

    def _images_of(self, runner: Runner) -> Tensor:
        """The first validation images, normalised, at the size that CLIP is run at."""
        model = model_inside(runner.model)
        dataset = runner.val_loop.dataloader.dataset
        side = model.clip_resolution or model.window
        found = []
        for index in range(min(self.images, len(dataset))):
            loaded = dataset[index]
            batch = model.data_preprocessor({key: [loaded[key]] for key in ("inputs", "data_samples")}, False)
            found.append(F.interpolate(batch["inputs"], (side, side), mode="bilinear"))
        return torch.cat(found)

    @staticmethod
    def _set_strength(model: Any, strength: float) -> None:
        model.backbone.adapter.strength = strength
        model.backbone.forget()
        model.text_encoder.forget()

    def _add(self, runner: Runner, name: str, found: Mapping[str, float]) -> None:
        row = {key: float(found[key]) for key in (*MIOUS, *DRIFTS) if key in found}
        self.rows.append({"name": name, "step": runner.iter, **row})
        runner.logger.info(f"{name}: {', '.join(f'{(MIOUS | DRIFTS)[key]} {value:.3g}' for key, value in row.items())}")
        if is_main_process():
            write_whole(self._path(runner), json.dumps(self.rows, indent=2) + "\n")
            write_plot(self._path(runner).with_suffix(".png"), self.rows)

    @staticmethod
    def _path(runner: Runner) -> Path:
        return Path(runner.work_dir) / "keep.json"


def drift(adapted: Tensor, plain: Tensor) -> float:
    """The mean of 1 - cos between embeddings [..., C], in [0, 2]."""
    return float((1 - F.cosine_similarity(adapted.double(), plain.double(), dim=-1)).mean())


def write_plot(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw all figures over the steps of a training."""
    along = [row for row in rows if not row["name"].startswith("strength")]
    figure = matplotlib.figure.Figure(figsize=(9, 3.5), layout="constrained")
    for axes, kinds, label in zip(figure.subplots(1, 2), (MIOUS, DRIFTS), ("mIoU (%)", "1 - cos"), strict=True):
        for key, title in kinds.items():
            points = [(row["step"], row[key]) for row in along if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=title)
        axes.set(xlabel="step", ylabel=label)
        axes.legend()
    write_figure(path, figure, 120)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows = read_json(path)
        return [row for row in rows if isinstance(row["name"], str) and isinstance(row["step"], int)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
