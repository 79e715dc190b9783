"""Registered hooks, optimizer wrappers and model wrappers."""

from hclip_mmseg.engine.atomic_checkpoint_hook import AtomicCheckpointHook
from hclip_mmseg.engine.bf16_optim_wrapper import BF16OptimWrapper
from hclip_mmseg.engine.comparison_hook import ComparisonHook
from hclip_mmseg.engine.dcrc_hook import DCRCHook
from hclip_mmseg.engine.fused_adamw import FusedAdamW
from hclip_mmseg.engine.iteration_seed_hook import IterationSeedHook
from hclip_mmseg.engine.keep_hook import KeepHook
from hclip_mmseg.engine.missed_validation_hook import MissedValidationHook
from hclip_mmseg.engine.published_optimizer import PublishedOptimizer
from hclip_mmseg.engine.sharded_model import ShardedModel
from hclip_mmseg.engine.sharded_strategy import ShardedStrategy
from hclip_mmseg.engine.summary_hook import SummaryHook
from hclip_mmseg.engine.vocabulary_hook import VocabularyHook

__all__ = [
    "AtomicCheckpointHook",
    "BF16OptimWrapper",
    "ComparisonHook",
    "DCRCHook",
    "FusedAdamW",
    "IterationSeedHook",
    "KeepHook",
    "MissedValidationHook",
    "PublishedOptimizer",
    "ShardedModel",
    "ShardedStrategy",
    "SummaryHook",
    "VocabularyHook",
]
