"""A real search, small."""

import functools

import numpy as np
import pytest

import training

tune = functools.partial(training.tune, report=False)


def test_the_best_of_the_trials_goes_on_as_a_run(small, tmp_path):
    choices = {"width": "8,32", "k": "4", "learning_rate": "1e-5,3e-3", "depth": "1", "epochs": "2"}
    run = tune(small, choices, tmp_path / "best", tuner="random", trials=3)
    assert run.finished and run.experiment().k == 4 and run.experiment().epochs == 2
    assert run.experiment().learning_rate == 3e-3
    assert len(list((tmp_path / "best-trials").glob("trial_*"))) == 3


def test_hyperband_is_the_default(small, tmp_path):
    run = tune(small.override(epochs=2), {"width": "8,16", "depth": "1", "k": "2"}, tmp_path / "best")
    assert run.finished


def test_the_data_of_the_search_are_those_of_the_run(small, digits, tmp_path):
    np.save(tmp_path / "a,b.npy", digits[:200, :4, :4])
    choices = {
        "dataset": f"npy:{tmp_path}/a,b.npy",
        "width": "4,8",
        "depth": "1",
        "k": "2",
        "epochs": "2",
        "learning_rate": "1e-3",
    }
    run = tune(small, choices, tmp_path / "best", tuner="random", trials=2)
    assert run.load_model().shape == (4, 4, 1) and run.experiment().dataset.endswith("a,b.npy")
    assert run.experiment().validation == small.validation


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"activation": "relu,gelo"}, "Expected body.activation to be one of"),
        ({"width": "8,0"}, "Expected width, a whole number of at least 1"),
        ({"k": "2,64"}, "the identity would win"),
        ({"epochs": "2,3"}, "Expected an integer for training.epochs"),
    ],
)
def test_choices_that_cannot_be_trained_are_told_before_the_search(small, choices, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tune(small, choices, tmp_path / "best")
    assert not (tmp_path / "best-trials").exists()


def test_another_search_does_not_get_the_trials(small, tmp_path):
    choices = {"width": "8,16", "depth": "1", "k": "2", "epochs": "1", "learning_rate": "1e-3"}
    first = tune(small, choices, tmp_path / "best", tuner="random", trials=1)
    assert tune(small, choices, tmp_path / "best", tuner="random", trials=1).experiment() == first.experiment()
    other = choices | {"width": "24,32"}
    with pytest.raises(ValueError, match=r"Expected the same search.*--restart"):
        tune(small, other, tmp_path / "best", tuner="random", trials=1)
    again = tune(small, other, tmp_path / "best", tuner="random", trials=1, restart=True)
    assert again.experiment().width in (24, 32)


def test_a_search_without_a_finite_trial(small, tmp_path):
    choices = {"width": "8", "depth": "1", "k": "2", "epochs": "1", "learning_rate": "1e36,1e37"}
    with pytest.raises(ValueError, match="Expected a trial with a finite error"):
        tune(small, choices, tmp_path / "best", tuner="random", trials=2)


def test_unknown_tuner(small, tmp_path):
    with pytest.raises(ValueError, match="hyperband, bayesian, random"):
        tune(small, tuner="grid", workdir=tmp_path / "best")
