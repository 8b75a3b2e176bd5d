"""A real, small search."""

import functools

import numpy as np
import pytest

import training
from training.run import Run

tune = functools.partial(training.tune, report=False)


@pytest.fixture(scope="module")
def search(small, digits, tmp_path_factory):
    """The experiment, choices and folder of a finished search, on other data than the experiment's own."""
    folder = tmp_path_factory.mktemp("search")
    np.save(folder / "a,b.npy", digits[:200, :4, :4])
    choices = {
        "dataset": f"npy:{folder}/a,b.npy",
        "width": "8,32",
        "depth": "1",
        "k": "4",
        "epochs": "2",
        "learning_rate": "1e-5,3e-3",
    }
    tune(small, choices, folder / "best", tuner="random", trials=3)
    return small, choices, folder / "best"


def test_the_best_of_the_trials_goes_on_as_a_run(search):
    run = Run(search[2])
    assert run.finished and run.experiment().k == 4 and run.experiment().epochs == 2
    assert run.experiment().learning_rate == 3e-3
    assert len(list((run.folder.parent / "best-trials").glob("trial_*"))) == 3


def test_the_data_of_the_search_are_those_of_the_run(search):
    run = Run(search[2])
    assert run.load_model().shape == (4, 4, 1) and run.experiment().dataset.endswith("a,b.npy")
    assert run.experiment().validation == search[0].validation


def test_hyperband_is_the_default(small, tmp_path):
    run = tune(small.override(epochs=2), {"width": "8,16", "depth": "1", "k": "2"}, tmp_path / "best")
    assert run.finished


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"activation": "relu,gelo"}, "Expected body.activation to be one of"),
        ({"width": "8,0"}, "Expected width to be an integer of at least 1"),
        ({"k": "2,64"}, "the identity would win"),
        ({"optimizer": "adamw,closed_form"}, "Expected an experiment with epochs, to tune"),
        ({"epochs": "2,3"}, "Expected an integer for training.epochs"),
    ],
)
def test_choices_that_cannot_be_trained_are_refused_before_the_search(small, choices, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tune(small, choices, tmp_path / "best")
    assert not (tmp_path / "best-trials").exists()


def test_another_search_does_not_get_the_trials(search):
    small, choices, folder = search
    before = Run(folder).experiment()
    assert tune(small, choices, folder, tuner="random", trials=3).experiment() == before
    other = choices | {"width": "24,36"}
    with pytest.raises(ValueError, match=r"Expected the same search.*--restart"):
        tune(small, other, folder, tuner="random", trials=3)
    assert Run(folder).experiment() == before
    again = tune(small, other, folder, tuner="random", trials=1, restart=True)
    assert again.experiment().width in (24, 36)


def test_a_search_without_a_finite_trial(small, tmp_path):
    choices = {"width": "8", "depth": "1", "k": "2", "epochs": "1", "learning_rate": "1e36,1e37"}
    with pytest.raises(ValueError, match="Expected a trial with a finite error"):
        tune(small, choices, tmp_path / "best", tuner="random", trials=2)


def test_unknown_tuner(small, tmp_path):
    with pytest.raises(ValueError, match="hyperband, bayesian, random"):
        tune(small, tuner="grid", workdir=tmp_path / "best")
