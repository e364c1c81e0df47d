"""Servers, clients, clocks and reports that the benchmarks share."""
