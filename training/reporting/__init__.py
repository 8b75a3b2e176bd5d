"""Reporting: the pictures and the page of a run's report.

Its modules are imported when they are first used: the first step of training does not wait for Matplotlib.
"""

from training.submodules import importing

__getattr__ = importing(__name__)
