"""CLIP for dense prediction: loading through open_clip, the two towers, prompts. Plain torch."""

from hclip_mmseg.clip.adapted_tower import AdaptedTower
from hclip_mmseg.clip.attention import AdaptedProjections, PlainProjections, Projections
from hclip_mmseg.clip.convnext_tower import ConvNeXtTower
from hclip_mmseg.clip.eva_tower import EvaTower
from hclip_mmseg.clip.image_tower import ImageTower
from hclip_mmseg.clip.loading import build_clip, clip_config, read_clip_weights
from hclip_mmseg.clip.replaced import with_parameters
from hclip_mmseg.clip.rounded import RoundedTwin, with_rounded_weights
from hclip_mmseg.clip.templates import resolve_templates
from hclip_mmseg.clip.text_tower import TextTower
from hclip_mmseg.clip.timm_tower import TimmTower
from hclip_mmseg.clip.tokenizers import ClipTokenizer, HubTokenizer, Tokenizer, hub_tokenizer, tokenizer_of
from hclip_mmseg.clip.tokens import cut_behind_longest, prompt_name, tokenize
from hclip_mmseg.clip.towers import image_tower_of
from hclip_mmseg.clip.vision_tower import VisionTower

__all__ = [
    "AdaptedProjections",
    "AdaptedTower",
    "ClipTokenizer",
    "ConvNeXtTower",
    "EvaTower",
    "HubTokenizer",
    "ImageTower",
    "PlainProjections",
    "Projections",
    "RoundedTwin",
    "TextTower",
    "TimmTower",
    "Tokenizer",
    "VisionTower",
    "build_clip",
    "clip_config",
    "cut_behind_longest",
    "hub_tokenizer",
    "image_tower_of",
    "prompt_name",
    "read_clip_weights",
    "resolve_templates",
    "tokenize",
    "tokenizer_of",
    "with_parameters",
    "with_rounded_weights",
]
