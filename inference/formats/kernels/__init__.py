"""Graph rewrites where TensorFlow's CPU kernels are missing, wrong or unsafe."""
