"""Evaluation: how good trained models are, and what their codes are good for.

Its modules are imported when they are first used: the first step of training does not wait for scikit-learn.
"""

from training.submodules import importing

__getattr__ = importing(__name__)
