"""Benchmarks: each figure is a ratio taken in one interleaved run."""
