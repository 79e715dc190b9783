"""Adapters of CLIP's towers: POP, its relations (DCRC), what measures them, and what it is compared with."""

from hclip_mmseg.adapters.base import PROJECTIONS, Adapter, Tower
from hclip_mmseg.adapters.build import build_adapter
from hclip_mmseg.adapters.cayley import cayley
from hclip_mmseg.adapters.dcrc import DCRC
from hclip_mmseg.adapters.energy import hyperspherical_energy, kept_axis, orthogonality_error
from hclip_mmseg.adapters.held import Held, ParameterVersions
from hclip_mmseg.adapters.houlsby import HoulsbyAdapter
from hclip_mmseg.adapters.lora import LoRA
from hclip_mmseg.adapters.lst import LST
from hclip_mmseg.adapters.oft import OFT
from hclip_mmseg.adapters.pop import POP, SIDES, ParameterCount
from hclip_mmseg.adapters.relations import (
    LinearRelation,
    MLPRelation,
    Relation,
    ResidualLinearRelation,
    build_relation,
)
from hclip_mmseg.adapters.ssf import SSF
from hclip_mmseg.adapters.t_product import facewise_product, mode_product, t_product, transform_modes
from hclip_mmseg.adapters.trained_projections import TrainedProjections
from hclip_mmseg.adapters.turning import (
    Operand,
    Side,
    cheaper_operand,
    turn_weight,
    turned_linear,
    turning_cost,
)
from hclip_mmseg.adapters.vpt import VPT

__all__ = [
    "DCRC",
    "LST",
    "OFT",
    "POP",
    "PROJECTIONS",
    "SIDES",
    "SSF",
    "VPT",
    "Adapter",
    "Held",
    "HoulsbyAdapter",
    "LinearRelation",
    "LoRA",
    "MLPRelation",
    "Operand",
    "ParameterCount",
    "ParameterVersions",
    "Relation",
    "ResidualLinearRelation",
    "Side",
    "Tower",
    "TrainedProjections",
    "build_adapter",
    "build_relation",
    "cayley",
    "cheaper_operand",
    "facewise_product",
    "hyperspherical_energy",
    "kept_axis",
    "mode_product",
    "orthogonality_error",
    "t_product",
    "transform_modes",
    "turn_weight",
    "turned_linear",
    "turning_cost",
]
