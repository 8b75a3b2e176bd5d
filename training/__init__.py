"""Training: from data to a fitted, evaluated, exported model."""

from serving import quiet  # noqa: F401 - before Keras imports TensorFlow
from training import inside, pictures
from training.commands import evaluate, figures, generate, report, table, train
from training.data import load
from training.experiments import EXPERIMENTS, Experiment
from training.fitting import fit_density
from training.run import Run
from training.tuning import tune

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Run",
    "evaluate",
    "figures",
    "fit_density",
    "generate",
    "inside",
    "load",
    "pictures",
    "report",
    "table",
    "train",
    "tune",
]
