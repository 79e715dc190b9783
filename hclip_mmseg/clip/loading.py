"""Building CLIP through open_clip, from whatever form its weights come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip import factory
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from torch import Tensor, nn

from hclip_mmseg.clip.quick_gelu import use_quick_gelu_mlps
from hclip_mmseg.clip.text_tower import why_not_text
from hclip_mmseg.clip.towers import why_not_image
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.files.state_dicts import check_state_dict, compare, find_state_dict, without_shared_prefix
from hclip_mmseg.files.tensors import read_tensors

OWN_TEXT = "choose a CLIP whose text tower is open_clip's own, such as ViT-B-16 or ViT-B-16-SigLIP2"
TEXT_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")


def clip_config(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """The geometry of a CLIP in open_clip's schema.

    Args:
        model: an open_clip name ('ViT-B-16-quickgelu'), the path of a JSON file, or the mapping itself.

    Returns:
        A mapping with ``embed_dim``, ``vision_cfg``, ``text_cfg`` and what else the schema allows.

    Raises:
        FileNotFoundError: if ``model`` ends in .json and there is no such file.
        ValueError: on a name that open_clip does not know, or a mapping without the three entries.
    """
    config: dict[str, Any]
    if isinstance(model, str):
        if model.endswith(".json"):
            path = locate(model)
            if path is None:
                raise FileNotFoundError(f"no CLIP model configuration: looked for at {looked_in(model)}")
            config = read_json(path)
            if not isinstance(config, dict):
                raise ValueError(f"{path} is no CLIP model configuration: it is no JSON object")
            config = config.get("model_cfg", config)
        else:
            found = factory.get_model_config(model)
            if found is None:
                near = [name for name in factory.list_models() if name.startswith(model[:5])]
                raise ValueError(
                    f"open_clip knows no model {model!r}; names that begin alike: {', '.join(near[:12]) or 'none'}"
                )
            config = found
    else:
        config = dict(model)
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise ValueError(f"the CLIP configuration {model!r} lacks {', '.join(missing)} (open_clip's schema)")
    return config


def read_clip_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads CLIP weights: OpenAI's TorchScript archives, state dicts (.pt, .pth, .bin) or .safetensors.

    Args:
        path: the file; a dict holding 'state_dict' (open_clip's training checkpoints) is looked into, and
            prefixes that all names share, such as 'module.', are dropped.

    Returns:
        name -> tensor in the dtype of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds anything but finite numbers under names.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no CLIP weights at {path.absolute()}")
    state = find_state_dict(read_tensors(path.absolute()), ("state_dict",))
    check_state_dict(state, path.absolute())
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"{path.absolute()} holds no tensors, so it is no CLIP checkpoint")
    return without_shared_prefix(state, path.absolute())


def is_openai(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of an OpenAI archive, whose models use QuickGELU."""
    return any(name in state for name in OPENAI_EXTRAS)


def _find_weights(model: str | Mapping[str, Any], pretrained: str) -> Path:
    """The file behind ``pretrained``: itself, or what open_clip downloads for its tag."""
    looks_like_path = "/" in pretrained or re.search(r"\.(pt|pth|bin|safetensors)$", pretrained)
    if Path(pretrained).is_file() or looks_like_path:
        return locate(pretrained) or Path(pretrained)
    name = model if isinstance(model, str) else ""
    tag_config = get_pretrained_cfg(name, pretrained)
    if not tag_config:
        tags = list_pretrained_tags_by_model(name)
        raise ValueError(
            f"{pretrained!r} is neither a file nor a tag of open_clip for the model {name or 'given'!r}; "
            f"tags: {', '.join(tags) or 'none'}"
        )
    try:
        return Path(download_pretrained(tag_config))
    except Exception as error:
        raise FileNotFoundError(
            f"the weights {pretrained!r} of {name} could not be downloaded ({type(error).__name__}); download "
            "them elsewhere and give the file's path instead"
        ) from error


def _check_shapes(clip: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    differences = compare(clip.state_dict(), state)
    if differences:
        raise ValueError(
            f"the CLIP weights {source} do not fit the configured model: {differences}. Choose the model name that "
            "belongs to the weights"
        )


def check_supported(model: str | Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that a configuration is of a CLIP whose parts are open_clip's own, before anything is built or fetched.

    Raises:
        ValueError: if it is another: what it is.
    """
    text = config["text_cfg"]
    if "hf_model_name" in text:
        raise ValueError(
            f"the text tower of {model!r} is {text['hf_model_name']} of the Hugging Face Hub; {OWN_TEXT}"
        )
    if "multimodal_cfg" in config:
        raise ValueError(f"{model!r} is a CoCa, which writes captions; choose a CLIP such as ViT-L-14")
    if text.get("embed_cls"):
        raise ValueError(f"the text tower of {model!r} has a class token of its own; {OWN_TEXT}")


def _check_towers(clip: nn.Module, model: str | Mapping[str, Any], timm_trunk: bool) -> None:
    image = None if timm_trunk else why_not_image(clip.visual)
    if image:
        raise ValueError(
            f"the image tower of {model!r} has {image}; choose one that gives dense tokens, such as ViT-B-16, "
            "ViT-L-14-336, ViT-B-16-SigLIP2 or EVA02-L-14 (docs/towers.md lists them)"
        )
    text = why_not_text(getattr(clip, "text", clip))
    if text:
        raise ValueError(f"the text tower of {model!r} has {text}; {OWN_TEXT}")


def build_clip(
    model: str | Mapping[str, Any],
    pretrained: str | None = None,
    quick_gelu: bool | None = None,
    timm_trunk: bool = False,
) -> CLIP | CustomTextCLIP:
    """An open_clip CLIP in fp32 whose towers give dense tokens and embeddings of texts.

    Args:
        model: see :func:`clip_config`.
        pretrained: the path of weights (see :func:`read_clip_weights`), a tag of open_clip such as
            'openai' or 'laion2b_s34b_b88k' (downloaded), or None for random weights.
        quick_gelu: whether the MLPs use QuickGELU, as OpenAI's weights need. None: as the model name and
            the tag say, and for weights given as a file, True where they are an OpenAI archive.
        timm_trunk: whether the image tower may also be one that :func:`~.towers.image_tower_of` does not read, such as
            a ConvNeXt; what is built on it has to know which.

    Returns:
        The model, in evaluation mode.

    Raises:
        FileNotFoundError, ValueError: as above, and if weights and geometry do not fit each other, or the
            towers are of a kind that is not supported.
    """
    config = dict(clip_config(model))
    check_supported(model, config)
    state: dict[str, Tensor] = {}
    if pretrained is not None:
        state = read_clip_weights(_find_weights(model, pretrained))
        if quick_gelu is None and (pretrained == "openai" or is_openai(state)):
            quick_gelu = True
    if quick_gelu is not None:
        config["quick_gelu"] = quick_gelu
    custom = config.pop("custom_text", False)
    clip = (CustomTextCLIP if custom else CLIP)(**config)
    _check_towers(clip, model, timm_trunk)
    if state:
        state = {name: value.float() for name, value in state.items() if name not in OPENAI_EXTRAS}
        if custom:
            state = _to_custom_text(state)
        if getattr(clip, "logit_bias", None) is not None:  # SigLIP's, which no model here reads or keeps
            state.setdefault("logit_bias", clip.logit_bias.detach())
        _check_shapes(clip, state, str(pretrained))
        clip.load_state_dict(state)
    use_quick_gelu_mlps(clip)
    return clip.eval()


def _to_custom_text(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a text tower beside the image tower's -> of one in a module of its own; others stay."""
    return {f"text.{name}" if name.startswith(TEXT_PARTS) else name: value for name, value in state.items()}
