"""A model tested on its own data, or on several benchmarks one after another beside the paper's row."""

from hclip_mmseg.benchmarks.loop import BenchmarkLoop

__all__ = ["BenchmarkLoop"]
