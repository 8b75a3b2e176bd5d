"""Evaluation: how good trained models are, and what their codes are good for."""
