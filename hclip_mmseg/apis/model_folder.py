"""A model as a folder that others open: weights, config, vocabulary and a model card; also on the Hugging Face Hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from mmengine.config import Config
from torch import Tensor, nn

from hclip_mmseg.clip import clip_config
from hclip_mmseg.clip.quick_gelu import has_quick_gelu
from hclip_mmseg.conversion.folding import folded_state_dict
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import hub_cache
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.version import project_version
from hclip_mmseg.files.writing import whole, write_whole
from hclip_mmseg.vocabularies import Vocabulary

FORMAT = 1
"""Number of the form of these folders; a change that older versions cannot read counts it up."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEPT = (
    "about",
    "folded",
    "default_scope",
    "benchmark_style",
    "benchmark_transforms",
    "benchmark_pipeline",
    "test_pipeline",
    "paper",
)
"""Entries of a config that hold for the model whatever it was trained on, besides ``model`` itself."""
TUPLE = "tuple"
CARD_FILE, OWN_CARD = "README.md", "<!-- written by hclip_mmseg"
PACKAGES = ("torch", "open_clip_torch", "onedl-mmsegmentation", "mmsegmentation")
CARD = """---
{{ card_data }}
---

# {{ title }}

An open-vocabulary model of hclip_mmseg {{ version }}. It was asked for {{ names }} class names, the first of them
{{ first }}; it can be asked for any others.

```python
from hclip_mmseg.apis import {{ inferencer }}

inferencer = {{ inferencer }}.from_pretrained("{{ repo_id | default('FOLDER OR OWNER/NAME', true) }}")
for result in inferencer(["photo.jpg"], "cat, sofa, plant"):
    print(result.source)
```

{{ figures }}

<!-- written by hclip_mmseg: saving the model again replaces this card, unless this line is taken out -->
"""


class ModelFolder(ModelHubMixin, library_name="hclip_mmseg", tags=["open-vocabulary"], model_card_template=CARD):
    """A model's weights and all that is needed to build it again, as ``save_pretrained`` of an inferencer writes them.

    In ``config.json`` stand the number of the form, versions, and MMEngine's config, which is data there and not a
    program; in ``model.safetensors`` the weights. ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are
    huggingface_hub's.

    Args:
        content: what ``config.json`` says.
        weights: the model's state dict.
        measured: benchmark -> metric -> value, for the card.
        inferencer: name of the class that opens it, for the card.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        measured: Mapping[str, Mapping[str, float]] | None = None,
        inferencer: str = "OpenVocabInferencer",
    ) -> None:
        self.content, self.weights = content, weights
        self.measured, self.inferencer = measured or {}, inferencer

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """See huggingface_hub's; a folder that is written again stays whole, and a card that is not this class's stays.

        Args:
            save_directory: the folder.
            options: of huggingface_hub's ``save_pretrained``.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".saving") as made:
            address: str | None = super().save_pretrained(made, **options)
            card = folder / CARD_FILE
            kept = card.is_file() and OWN_CARD not in card.read_text(encoding="utf-8", errors="replace")
            for path in sorted(Path(made).iterdir()):
                if not (kept and path.name == CARD_FILE):
                    os.replace(path, folder / path.name)
        return address

    def _save_pretrained(self, save_directory: Path) -> None:
        with whole(save_directory / WEIGHTS) as part:
            safetensors.torch.save_file(dict(self.weights), part, metadata=dict(format="pt"))
        write_whole(save_directory / CONFIG, json.dumps(self.content, indent=2) + "\n")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> ModelFolder:
        where: dict[str, Any] = {key: options.get(key) for key in ("revision", "cache_dir", "token")}
        files = [
            Path(model_id) / name
            if Path(model_id).is_dir()
            else Path(hf_hub_download(model_id, name, local_files_only=bool(options.get("local_files_only")), **where))
            for name in (CONFIG, WEIGHTS)
        ]
        return cls(read_content(files[0]), safetensors.torch.load_file(files[1]))

    def generate_model_card(self, *args: Any, **fields: Any) -> Any:
        """The card, with the figures that were measured."""
        names = self.content["vocabulary"]
        about = dict(
            title=self.content["about"],
            version=self.content["versions"]["hclip-mmseg"],
            names=len(names),
            first=", ".join(f"'{name}'" for name in names[:3]) or "(none)",
            inferencer=self.inferencer,
            figures=figures(self.measured),
        )
        return super().generate_model_card(*args, **{**about, **fields})


def folder_of(
    model: nn.Module,
    config: Config,
    vocabulary: Vocabulary,
    *,
    folded: bool = False,
    results: str | Path | None = None,
    inferencer: str = "OpenVocabInferencer",
) -> ModelFolder:
    """A model and its config as a folder to be written.

    Args:
        model: an ``OpenVocabModel``, as it is now: its weights and templates.
        config: that it was built from.
        vocabulary: the class names that it is asked for when it is opened; may be none.
        folded: whether adapters are to be multiplied into CLIP's weights.
        results: file of ``hclip-test --benchmarks`` (``<work_dir>/benchmarks/<checkpoint>.json``), for the card.
        inferencer: name of the class that opens it.

    Raises:
        ValueError: if the adapters cannot be folded, or ``results`` holds none.
    """
    state = folded_state_dict(model) if folded else model.state_dict()
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    settings = _alone(config, model)
    if folded:
        settings["model"]["backbone"]["adapter"] = None
    own_templates: Any = model.templates
    names, templates = list(vocabulary.titles), list(own_templates)
    stuff = None if vocabulary.stuff is None else list(vocabulary.stuff)
    entries = [dict(name=name, isthing=thing) for name, thing in zip(names, vocabulary.things, strict=True)]
    settings["model"]["text_encoder"] |= dict(vocabulary=(entries if stuff else names) or None, templates=templates)
    settings.setdefault("about", Path(str(config.filename or config.model.type)).stem)
    settings["folded"] = bool(folded or settings.get("folded"))  # of a folder that is opened and written again
    content = dict(
        format=FORMAT,
        about=settings["about"],
        folded=settings["folded"],
        versions={"hclip-mmseg": project_version(), **_versions()},
        vocabulary=names,
        stuff=stuff,
        templates=templates,
        settings=_as_json(settings),
    )
    return ModelFolder(content, weights, None if results is None else _measured(results), inferencer)


def read_content(path: Path) -> dict[str, Any]:
    """What the ``config.json`` of a model's folder says.

    Raises:
        ValueError: if it is none, or was written by a newer version than this.
    """
    content = read_json(path)
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or "settings" not in content:
        raise InputError(f"{path} is no model of hclip_mmseg: it has no 'format' and 'settings'")
    if number > FORMAT:
        wrote = (content.get("versions") or {}).get("hclip-mmseg", "unknown")
        raise InputError(
            f"{path} has format {number}, written by hclip-mmseg {wrote}; this version, {project_version()}, reads up "
            f"to {FORMAT}: pip install -U hclip-mmseg"
        )
    return content


def is_model_folder(path: object) -> bool:
    """Whether a path is a folder as ``save_pretrained`` writes it."""
    return isinstance(path, str | Path) and (Path(path) / CONFIG).is_file() and (Path(path) / WEIGHTS).is_file()


def open_folder(path: str | Path) -> tuple[Config, Path]:
    """The config of a model's folder, and the file of its weights.

    Raises:
        ValueError: see `read_content`.
    """
    settings = _from_json(read_content(Path(path) / CONFIG)["settings"])
    return Config(settings, filename=str(Path(path) / CONFIG)), Path(path) / WEIGHTS


def fetch_folder(place: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: a folder as it is, or a repository on the Hub, fetched into the Hub's cache.

    Args:
        place: a folder, or 'owner/name'.
        revision: branch, tag or commit on the Hub.

    Raises:
        ValueError: if it is neither.
    """
    if Path(place).is_dir():
        if not is_model_folder(place):
            raise InputError(f"{place} is no model's folder: it lacks {CONFIG} or {WEIGHTS}")
        return Path(place)
    if str(place).count("/") != 1 or str(place).startswith(("/", ".", "~")):
        raise InputError(f"there is no folder {place}, and on the Hub models are called 'owner/name'")
    where: dict[str, Any] = dict(revision=revision, endpoint=os.environ.get("HF_ENDPOINT"), cache_dir=hub_cache())
    try:
        return [Path(hf_hub_download(str(place), name, **where)) for name in (WEIGHTS, CONFIG)][-1].parent
    except Exception as error:  # the Hub's library has many
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{place} is no folder here, and cannot be had from the Hub: {reason}") from error


def figures(measured: Mapping[str, Mapping[str, float]]) -> str:
    """What was measured as a table, or that nothing was."""
    if not measured:
        return "No evaluation lay beside this model when it was written."
    lines = ["Measured by `hclip-test --benchmarks`:", "", "| benchmark | metric | value |", "|---|---|---|"]
    lines += [
        f"| {benchmark} | {metric} | {value:.2f} |"
        for benchmark, metrics in measured.items()
        for metric, value in metrics.items()
    ]
    return "\n".join(lines)


def _measured(path: str | Path) -> dict[str, dict[str, float]]:
    content = read_json(path)
    try:
        return {
            name: {metric: float(value) for metric, value in entry["metrics"].items()}
            for name, entry in content["measured"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} is no file of benchmark results") from error


def _alone(config: Config, model: nn.Module) -> dict[str, Any]:
    """What of a config the model is built from and images are read by, without files beside it."""
    whole_config = config.to_dict()
    settings = {key: whole_config[key] for key in KEPT if key in whole_config}
    settings["model"] = whole_config["model"]
    pipeline = ((whole_config.get("test_dataloader") or {}).get("dataset") or {}).get("pipeline")
    if pipeline:
        settings["test_dataloader"] = dict(dataset=dict(pipeline=pipeline))
    clip = (settings["model"].get("backbone") or {}).get("clip")
    backbone: Any = getattr(model, "backbone", None)
    if clip:  # the weights hold CLIP; what else its file said is its activation
        clip |= dict(pretrained=None, quick_gelu=has_quick_gelu(backbone))
        if str(clip["model"]).endswith(".json"):
            clip["model"] = clip_config(clip["model"])
    generator = settings["model"].get("generator")
    if generator:
        generator["init_cfg"] = None
    return settings


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return found


def _as_json(value: Any) -> Any:
    """A config's value in JSON, which has no tuples."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_as_json(part) for part in value]}
    return [_as_json(part) for part in value] if isinstance(value, list) else value


def _from_json(value: Any) -> Any:
    """The reverse of `_as_json`."""
    if isinstance(value, dict):
        if set(value) == {TUPLE}:
            return tuple(_from_json(part) for part in value[TUPLE])
        return {key: _from_json(part) for key, part in value.items()}
    return [_from_json(part) for part in value] if isinstance(value, list) else value
