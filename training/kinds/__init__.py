"""Kinds of data: everything in which one differs from another, in one protocol."""

from training.experiments.experiment import Experiment
from training.kinds.kind import Evaluation, Kind

__all__ = ["Evaluation", "Kind", "of"]


def of(experiment: Experiment) -> Kind:
    """The kind of an experiment."""
    return experiment.make("kind")
