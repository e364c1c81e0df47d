"""Measurements against targets; each module runs as `python -m benchmarks.<name>`."""
