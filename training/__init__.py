"""Training: from data to a fitted, evaluated, exported model."""

from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
from training.commands import evaluate, report, table, train
from training.data import load
from training.experiments import EXPERIMENTS, Experiment
from training.fitting import fit_density
from training.run import Run
from training.tuning import tune

__all__ = ["EXPERIMENTS", "Experiment", "Run", "evaluate", "fit_density", "load", "report", "table", "train", "tune"]
