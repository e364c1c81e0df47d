"""Graphs rewritten where TensorFlow's CPU kernels are missing, wrong or dangerous."""
