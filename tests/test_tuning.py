"""A real search, small."""

import dataclasses

import pytest

import training


def test_the_best_of_the_trials_goes_on_as_a_run(small, tmp_path):
    choices = {"width": "8,32", "k": "4", "learning_rate": "1e-5,3e-3", "depth": "1", "epochs": "2"}
    run = training.tune(small, choices, tmp_path / "best", tuner="random", trials=3)
    assert run.finished and run.experiment().k == 4 and run.experiment().epochs == 2
    assert run.experiment().learning_rate == 3e-3
    assert len(list((tmp_path / "best-trials").glob("trial_*"))) == 3


def test_hyperband_is_the_default(small, tmp_path):
    run = training.tune(dataclasses.replace(small, epochs=3), {"width": "8,16", "depth": "1", "k": "2"}, tmp_path / "best")
    assert run.finished


def test_unknown_tuner(small, tmp_path):
    with pytest.raises(ValueError, match="hyperband, bayesian, random"):
        training.tune(small, tuner="grid", workdir=tmp_path / "best")
