"""The trials of a search: chosen by keras-tuner, kept so that a killed search goes on, and shared with other processes."""

import concurrent.futures
import contextlib
import logging
import os
import pathlib
import socket
import time
from collections.abc import Iterator

import grpc
import keras
import keras_tuner
import numpy as np
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.engine.tuner_utils import SaveBestEpoch

from serving import command
from training import files
from training.fitting import callbacks
from training.fitting.cluster import Cluster

ORACLES = {
    "hyperband": keras_tuner.oracles.HyperbandOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    "random": keras_tuner.oracles.RandomSearchOracle,
}
ENDED = ("COMPLETED", "FAILED")
PAUSE = 0.05  # seconds before a trial is asked for, again and again where hyperband waits for others


class Kept:
    """The methods of an oracle that keep its trials: files are written completely or not at all, and a trial is run again only
    if it has not ended.

    keras-tuner's own would lose the search if it is killed while it writes, run a trial again whose end has not been written
    twice, and forget one that has just begun.
    """

    def save(self) -> None:
        files.write_json(pathlib.Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        files.write_json(pathlib.Path(self._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state())

    def reload(self) -> None:
        super().reload()
        known = [name for name in self.start_order if name in self.trials]  # others have no place in the search yet
        self.trials = {name: self.trials[name] for name in known}
        self._retry_queue = [name for name, trial in self.trials.items() if trial.status not in ENDED]


class Tuner(keras_tuner.Hyperband):
    """Runs the trials of an oracle of any kind; where Hyperband's go on from others, with their weights."""

    def __init__(self, oracle: keras_tuner.Oracle, hypermodel: keras_tuner.HyperModel, folder: pathlib.Path):
        if (folder / "oracle.json").exists():  # the constructor reads it where it finds another file, which is written later
            files.write_json(folder / f"{os.environ.get('KERASTUNER_TUNER_ID', 'tuner0')}.json", {})
        keras_tuner.Tuner.__init__(self, oracle, hypermodel, directory=folder.parent, project_name=folder.name)

    def pre_create_trial(self) -> None:
        time.sleep(PAUSE)

    def _get_checkpoint_fname(self, trial_id: str) -> str:
        return os.path.join(self.get_trial_dir(trial_id), "checkpoint.npz")

    def _build_hypermodel(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras_tuner.Tuner._build_hypermodel(self, hp)
        if "tuner/trial_id" in hp.values:  # Hyperband goes on from another trial
            path = self._get_checkpoint_fname(hp.values["tuner/trial_id"])
            with files.reading(path, "the state of a trial", "--restart"), np.load(path) as saved:
                for variable, name in zip(callbacks.state(model), saved.files, strict=True):
                    variable.assign(saved[name])
        return model

    def _build_and_fit_model(self, trial: keras_tuner.engine.trial.Trial, *args, **kwargs) -> object:
        for callback in kwargs["callbacks"]:
            if isinstance(callback, SaveBestEpoch):
                callback.__class__ = State
        try:
            return super()._build_and_fit_model(trial, *args, **kwargs)
        except OSError as error:  # such as a full disk, with which no other trial would end better
            raise keras_tuner.errors.FatalValueError(command.outside(error)) from error


class State(SaveBestEpoch):
    """Writes the state of a trial after its best epoch so far: completely or not at all, and without HDF5, which a full disk
    makes crash."""

    def _save_model(self) -> None:
        arrays = [*callbacks.values(self.model)]
        files.write(self.filepath, lambda beside: np.savez(beside, *arrays))


def oracle(name: str, objective: str, seed: int, epochs: int, trials: int) -> keras_tuner.Oracle:
    """The oracle that chooses the trials.

    Args:
        name: `hyperband`, `bayesian` or `random`.
        objective: the metric that is to be lowest.
        epochs: of the longest trial of Hyperband, from which the number of its trials follows.
        trials: number of trials of the others.
    """
    length = {"max_epochs": epochs, "factor": 3} if name == "hyperband" else {"max_trials": trials}
    kept = type("Oracle", (Kept, ORACLES[name]), {})
    return kept(objective=keras_tuner.Objective(objective, "min"), seed=seed, **length)


@contextlib.contextmanager
def served(oracle: keras_tuner.Oracle, cluster: Cluster) -> Iterator[None]:
    """A context in which this process, the chief, answers the tuners of the others."""
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)  # of what fails here the others are told, and say it
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    server.add_insecure_port(f"{'[::]' if socket.has_dualstack_ipv6() else '0.0.0.0'}:{cluster.port}")
    server.start()
    try:
        yield
    finally:
        server.stop(None)


def await_chief(cluster: Cluster) -> None:
    """Waits until the chief answers tuners."""
    with grpc.insecure_channel(cluster.addresses[0]) as channel:
        grpc.channel_ready_future(channel).result()


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """A context in which a tuner asks the chief of a cluster for trials; without one, and on the chief, its own oracle."""
    host, _, port = cluster.addresses[0].rpartition(":") if cluster else ("", "", "")
    values = {"ORACLE_IP": host, "ORACLE_PORT": port, "TUNER_ID": f"worker{cluster.index if cluster else 0}"}
    before = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("KERASTUNER_")}
    if cluster and not cluster.chief:
        os.environ.update({f"KERASTUNER_{name}": value for name, value in values.items()})
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(f"KERASTUNER_{name}", None)
        os.environ.update(before)
