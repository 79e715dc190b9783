"""The equations written out directly, without a thought for speed: what tests and benchmarks compare with."""
