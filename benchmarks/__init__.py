"""Measurements against targets: `python -m benchmarks`."""
