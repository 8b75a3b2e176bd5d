"""A run's folder: everything that is needed to repeat the run, and its results."""

import importlib.metadata
import json
import os
import pathlib
import platform

import keras

import zoo
from training import files
from training.experiments import config, parts
from training.experiments.experiment import Experiment
from training.experiments.named import command

PACKAGES = ("latent-zoo", "keras", "tensorflow", "tensorflow-datasets", "numpy", "scikit-learn")
SAVED_MODELS = ("saved_model.pb", "*/saved_model.pb")  # where those of an export are


class Run:
    """The paths in a run's folder. Files are written completely or not at all, so a stage is done if its file exists.

    | path | holds |
    |---|---|
    | `config.json` | the experiment, including the seed; the learning rates of all epochs are in the history |
    | `versions.json` | versions of Python and packages, the backend, the machine type, and the precision of training |
    | `checkpoints/latest.npz` | the state of training after the last epoch, and the history |
    | `checkpoints/best.npz` | the best weights so far, if they are kept |
    | `tensorboard/` | event files |
    | `model.keras` | the trained model |
    | `history.json` | metrics by epoch |
    | `costs.json` | seconds of training, device, processor, precision and number of weights |
    | `metrics.json` | the metrics of the evaluation |
    | `codes.npz` | codes, labels and ids of all splits |
    | `pca.keras` | PCA of equal k, if it serves as a baseline |
    | `schema.yaml` | the types of the columns of a table, to be edited and given back |
    | `sample.npz` | a few test examples for the export |
    | `report/index.html` | the report and its pictures |
    | `export/NAME/1/` | the SavedModel |
    """

    def __init__(self, folder: str | pathlib.Path):
        files.require_local(folder)
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "config.json"
        self.versions = self.folder / "versions.json"
        self.checkpoint = self.folder / "checkpoints" / "latest.npz"
        self.best = self.folder / "checkpoints" / "best.npz"
        self.tensorboard = self.folder / "tensorboard"
        self.model = self.folder / "model.keras"
        self.history = self.folder / "history.json"
        self.costs = self.folder / "costs.json"
        self.metrics = self.folder / "metrics.json"
        self.codes = self.folder / "codes.npz"
        self.pca = self.folder / "pca.keras"
        self.schema = self.folder / "schema.yaml"
        self.sample = self.folder / "sample.npz"
        self.report = self.folder / "report" / "index.html"
        self.export = self.folder / "export"

    @property
    def finished(self) -> bool:
        """Trained, evaluated and exported, with or without a report."""
        return self.model.exists() and self.metrics.exists() and self.exported

    @property
    def exported(self) -> bool:
        return any(path.parent.name.isdigit() for path in self.export.glob("*/*/saved_model.pb"))

    @property
    def precision(self) -> str | None:
        """The precision that training started in, which a resumed run keeps on any machine; None before the start."""
        setting = self.experiment().get("training.precision", "float32") if self.config.exists() else "auto"
        if setting != "auto":
            return setting
        return files.read_json(self.versions).get("precision") if self.versions.exists() else None

    @property
    def computed(self) -> str:
        """What a finished training ran on, in words: `2 CPU cores, AMD EPYC, AVX2, float32`. Runs of earlier versions lack the
        processor."""
        costs = files.read_json(self.costs)
        return ", ".join(filter(None, (costs["device"], costs.get("processor"), costs.get("precision") or self.precision)))

    def expect(self, experiment: Experiment, restart: bool = False) -> Experiment:
        """The experiment; settings that it leaves open, which are None, have the values that a run in the folder took from the
        data.

        Raises:
            ValueError: the folder holds something other than a run, or a run of another experiment unless `restart`. Training
                that has not ended may be resumed with another learning rate.
        """
        if self.config.exists():
            if restart:
                return experiment
            existing = self.experiment()
            left_open = [key for key, value in experiment.settings.items() if value is None and existing.get(key) is not None]
            experiment = experiment.override({key: existing[key] for key in left_open})
            changes = experiment.changes(existing)
            if not self.model.exists():
                changes.pop("optimizer.learning_rate", None)
            if experiment.get("training.precision") in ("auto", self.precision):
                changes.pop("training.precision", None)
            differences = [f"{experiment.short(key)} is {existing.get(key)!r}, not {value!r}" for key, value in changes.items()]
            if existing.name != experiment.name:
                differences.insert(0, f"the experiment is {existing.name}, not {experiment.name}")
            if differences:
                raise ValueError(
                    f"Expected a folder of the same experiment, or a new one. Received: {self.folder}, where "
                    f"{'; '.join(differences)}. Try another --workdir, or --restart to delete the existing run."
                )
        elif os.path.lexists(self.folder) and any(not path.name.startswith(".") for path in self.folder.iterdir()):
            raise ValueError(
                f"Expected a run's folder, or a new one. Received: {self.folder}, which holds other files. "
                "Try another --workdir."
            )
        return experiment

    def begin(self, experiment: Experiment, precision: str) -> None:
        """Writes the experiment, and the versions and the precision of training, unless they are there already."""
        if not self.config.exists() or experiment.changes(self.experiment()):
            files.write_json(self.config, config.as_dict(experiment))
        if not self.versions.exists():
            files.write_json(self.versions, versions() | {"precision": precision})

    def clear(self) -> None:
        """Deletes the run in the folder; a folder without a run stays as it is."""
        if self.config.exists():
            with files.beside(self.config) as aside:  # first moved, then removed, so that a kill does not leave half of a run
                for path in sorted(self.folder.iterdir(), key=lambda path: path == self.config):  # config.json, its mark, last
                    if path != aside.parent:
                        path.rename(aside.parent / path.name)

    def experiment(self) -> Experiment:
        """The experiment of this run.

        Raises:
            ValueError: the folder does not hold a run.
        """
        if not self.config.exists():
            raise ValueError(
                f"Expected the folder of a run, with a config.json. Received: {self.folder}. "
                "Try python -m training train EXPERIMENT first."
            )
        with files.reading(self.config, "a run of this version", "training again, with --restart or in another folder"):
            values = json.loads(self.config.read_bytes())
            if not isinstance(values, dict) or not isinstance(values.get("name"), str):
                raise ValueError("no name of an experiment")
            return config.from_dict(values)

    def load_model(self) -> keras.Model:
        """The trained model, on the current backend.

        Raises:
            ValueError: training has not finished, or the file is damaged.
        """
        if not self.model.exists():
            raise ValueError(
                f"Expected a trained model. Received: {self.folder} without model.keras. "
                f"Try {command(self.experiment())} --workdir={self.folder}, which resumes training."
            )
        if self.config.exists():
            parts.import_all(self.experiment().imports)
        return zoo.presets.load_saved(self.model, "removing it and training again, which resumes from the checkpoint")


def trained(name: str | os.PathLike) -> keras.Model:
    """The model of a run's folder, of a preset or of an export: a SavedModel, or the folder of its versions.

    Raises:
        ValueError: no such folder or preset; a SavedModel that does not hold its model's configuration.
    """
    if Run(name).config.exists():
        return Run(name).load_model()
    if name not in zoo.list() and any(any(pathlib.Path(name).glob(place)) for place in SAVED_MODELS):
        from serving import export  # it imports TensorFlow, on any backend

        return export.load(name)
    return zoo.load(name)


def versions() -> dict[str, str]:
    """The versions of Python and of packages, the type of the machine, and the backend."""
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "machine": platform.machine(), "backend": backend}
    for package in dict.fromkeys((*PACKAGES, backend)):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
