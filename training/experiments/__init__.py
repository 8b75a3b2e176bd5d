"""Experiments: compositions of parts and their settings, known without TensorFlow."""
