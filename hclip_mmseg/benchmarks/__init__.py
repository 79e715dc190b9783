"""One model evaluated on several benchmarks, one after another, and the paper's row of them."""

from hclip_mmseg.benchmarks.loop import BenchmarkLoop

__all__ = ["BenchmarkLoop"]
