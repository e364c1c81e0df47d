"""Servers under load, side by side: throughput, tails, overload, fairness."""
