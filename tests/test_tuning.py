"""A real, small search, by one process and by two."""

import functools
import json
import resource
import time

import keras_tuner
import numpy as np
import pytest
from conftest import Forked

import training
from serving import command
from training import files, launch, trials
from training.__main__ import main
from training.run import Run

tune = functools.partial(training.tune, report=False)


@pytest.fixture(scope="module")
def search(small, digits, tmp_path_factory):
    """The experiment, choices and folder of a finished search, on other data than the experiment's own."""
    folder = tmp_path_factory.mktemp("search")
    np.save(folder / "a,b.npy", digits[:200, :4, :4])
    choices = {
        "dataset": f"npy:{folder}/a,b.npy",
        "width": "8,16,32",
        "depth": "1",
        "k": "4",
        "epochs": "3",
        "learning_rate": "1e-5,3e-3",
    }
    tune(small, choices, folder / "best")
    return small, choices, folder / "best"


def test_the_best_of_the_trials_goes_on_as_a_run(search):
    run = Run(search[2])
    assert run.finished and run.experiment().k == 4 and run.experiment().epochs == 3
    assert run.experiment().learning_rate == 3e-3
    assert len(tried(run.folder.parent / "best-trials")) == 6  # three of an epoch, the best of which goes on, and two of three


def test_the_data_of_the_search_are_those_of_the_run(search):
    run = Run(search[2])
    assert run.load_model().shape == (4, 4, 1) and run.experiment().dataset.endswith("a,b.npy")
    assert run.experiment().validation == search[0].validation


def tried(folder) -> list[tuple]:
    """The width and the learning rate, the epochs and the error of each trial that has been written."""
    written = [json.loads(path.read_bytes()) for path in folder.glob("trial_*/trial.json")]
    keys = ("body.width", "optimizer.learning_rate", "tuner/epochs")
    return sorted((*(trial["hyperparameters"]["values"][key] for key in keys), trial["score"]) for trial in written)


def done(folder) -> dict[str, int]:
    """When the files were written of the trials that have ended."""
    paths = [path for path in folder.glob("trial_*/trial.json") if '"COMPLETED"' in path.read_text()]
    return {path.parent.name: path.stat().st_mtime_ns for path in paths}


def test_two_processes_one_of_which_is_killed_find_what_one_finds(search, tmp_path):
    _, choices, alone = search
    settings = [f"--{key}={value}" for key, value in choices.items()]
    words = ["tune", "dense_digits_k8", *settings, "--report=false", f"--workdir={tmp_path}/best"]
    kept = tmp_path / "best-trials"
    chief, other = (Forked(main, (words,), each) for each in launch.environments(2))
    while not done(kept):
        time.sleep(0.01)
        assert chief.process.is_alive() and other.process.is_alive(), chief.end() + other.end()
    other.process.kill()
    code, said = chief.end()
    assert code == 1 and "Expected all workers to go on. Received: worker 1 is gone. Try the same command on all" in said
    before = done(kept)
    assert 0 < len(before) < 6 and not (tmp_path / "best").exists()
    chief, other = (Forked(main, (words,), each) for each in launch.environments(2))
    code, said = other.end()
    assert code == 0 and said.endswith("This worker has done its part. The run is the chief's.\n"), said
    run = Run(tmp_path / "best")
    while not run.model.exists():
        time.sleep(0.01)
        assert chief.process.is_alive(), chief.end()
    chief.process.kill()  # what comes after training is that of a single process
    assert "best of 6 trials" in chief.end()[1]
    assert before.items() <= done(kept).items()
    assert tried(kept) == tried(alone.parent / "best-trials")
    assert run.experiment().settings == Run(alone).experiment().settings
    assert files.read_json(run.history) == files.read_json(Run(alone).history)


def test_workers_with_different_searches_are_told_so(tmp_path):
    words = ["tune", "dense_digits_k8", "--epochs=1", f"--workdir={tmp_path}/best"]
    tuners = zip(("random", "bayesian"), launch.environments(2), strict=True)
    workers = [Forked(main, ([*words, f"--tuner={tuner}"],), environment) for tuner, environment in tuners]
    for code, said in [worker.end() for worker in workers]:
        assert code == command.WRONG and 'Received: worker 1 with tuner "bayesian", not "random".' in said, said
    assert not (tmp_path / "best-trials").exists()


def resumed(folder, begun=True) -> keras_tuner.Oracle:
    """An oracle with the trials of a folder, as a process has it that begins."""
    oracle = trials.oracle("random", "loss", 7, 1, 9)
    oracle._set_project_dir(folder, "search")
    oracle.verbose = 0
    if begun:
        oracle.reload()
    else:
        oracle.hyperparameters.Int("width", 1, 1000)
    return oracle


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:keras_tuner")
def test_a_search_killed_between_two_writes_goes_on(tmp_path):
    oracle, path = resumed(tmp_path, begun=False), tmp_path / "search" / "oracle.json"
    ended, running = oracle.create_trial("a"), oracle.create_trial("b")
    before = path.read_bytes()
    begun = oracle.create_trial("c")
    oracle.update_trial(ended.trial_id, {"loss": 1.0})
    ended.status = "COMPLETED"
    oracle.end_trial(ended)
    path.write_bytes(before)  # neither an end nor a beginning has been written to it, but to the files of the trials
    oracle = resumed(tmp_path)
    assert oracle.create_trial("d").trial_id == running.trial_id
    again = oracle.create_trial("e")
    assert (again.trial_id, again.hyperparameters.values) == (begun.trial_id, begun.hyperparameters.values)
    assert oracle.get_best_trials()[0].score == 1.0 and oracle.create_trial("f").trial_id not in oracle.end_order


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


def limited(words: list[str]) -> int:
    """What a process does that is forked, whose files may have 50 kB at most, in place of a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    return main(words)


def test_a_full_disk_ends_a_search_in_a_sentence(search, tmp_path):
    dataset = search[1]["dataset"]
    words = ["tune", "dense_digits_k8", f"--dataset={dataset}", "--width=128", "--depth=2", "--k=4", "--epochs=1", "--trials=2"]
    code, said = Forked(limited, ([*words, "--tuner=random", f"--workdir={tmp_path}/run"],), {}).end()
    last = said.replace("\r", "\n").strip().splitlines()[-1]
    assert code == command.WRONG and last.startswith("python -m training: Expected what the operating system allows.")
    assert "File too large" in last and "checkpoint.npz" in last


def test_another_search_does_not_get_the_trials(search):
    small, choices, folder = search
    before = Run(folder).experiment()
    assert tune(small, choices, folder).experiment() == before
    other = choices | {"width": "8", "learning_rate": "1e36,1e37"}
    with pytest.raises(ValueError, match=r"Expected the same search.*--restart"):
        tune(small, other, folder)
    assert Run(folder).experiment() == before
    with pytest.raises(ValueError, match="Expected a trial with a finite error"):
        tune(small, other, folder, tuner="random", trials=2, restart=True)
    assert len(list((folder.parent / "best-trials").glob("trial_*"))) == 2


def test_unknown_tuner(small, tmp_path):
    with pytest.raises(ValueError, match="hyperband, bayesian, random"):
        tune(small, tuner="grid", workdir=tmp_path / "best")
