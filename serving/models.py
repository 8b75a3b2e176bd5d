"""The served models: which versions there ought to be, which are loaded, and their states."""

import gc
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.batcher import Limits
from serving.servable import Servable
from serving.status import Code, RequestError, invalid, told

THREADS = 64  # that run batches; they wait for the model most of the time
log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How models are loaded, under the names of TensorFlow Serving's flags."""

    limits: Limits = Limits()
    enable_batching: bool = True
    enable_model_warmup: bool = True
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000


class Version:
    """One version of a model and what became of it; `servable` while it is available."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.state, self.code, self.message = "START", Code.OK, ""
        self.servable: Servable | None = None
        self.tries, self.tried = 0, 0.0

    def load(self, settings: Settings, pool: ThreadPoolExecutor) -> None:
        self.state, self.tries, self.tried = "LOADING", self.tries + 1, time.monotonic()
        try:
            limits, batching = settings.limits, settings.enable_batching
            self.servable = Servable(self.path, pool, limits, batching, settings.enable_model_warmup)
        except Exception as error:
            self.state, self.code = "END", told(error).code
            self.message = f"{type(error).__name__}: {error}"
            log.warning("Expected a SavedModel in %s. Received: %s", self.path, self.message)
        else:
            self.state, self.code, self.message = "AVAILABLE", Code.OK, ""

    def unload(self) -> None:
        """Takes it out of service; requests that hold the servable are still answered."""
        self.servable, self.state = None, "END"

    def due(self, settings: Settings) -> bool:
        """Whether it is still to be loaded: not tried yet, or failed a while ago and not too often."""
        if self.servable is not None or self.tries > settings.max_num_load_retries:
            return False
        waited = time.monotonic() - self.tried
        return not self.tries or waited >= settings.load_retry_interval_micros / 1e6

    def status(self) -> ModelVersionStatus:
        status = ModelVersionStatus(version=int(self.path.name), state=self.state)
        status.status.error_code, status.status.error_message = self.code, self.message
        return status


class Models:
    """The models of a configuration, loaded as their version policies say.

    Args:
        configuration: gives what is to be served, each time that `poll` asks.
        settings: how models are loaded.

    `get` and `status` may be called from any thread at any time; a version is replaced only after its successor is loaded.
    """

    def __init__(self, configuration: Callable[[], ModelServerConfig], settings: Settings = Settings()):  # noqa: B008
        self._configuration, self._settings = configuration, settings
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batch")
        self._configs: dict[str, ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}  # replaced, never changed, so that readers need no lock
        self._loaded: dict[str, dict[int, Servable]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._polling = threading.Lock()
        self._stop = threading.Event()

    # What there is

    @property
    def names(self) -> Collection[str]:
        return self._configs.keys()

    @property
    def ready(self) -> bool:
        """Whether there is a model, and every one has a version that answers."""
        return bool(self._configs) and all(self._loaded.get(name) for name in self._configs)

    def get(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable of a version or of a label, else the highest that is available.

        Raises:
            RequestError: NOT_FOUND, no such model or version; INVALID_ARGUMENT, no name or no such label.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if label is not None:
            version = self._labelled(name, label)
        available = self._loaded.get(name, {})
        number = max(available, default=None) if version is None else version
        if number not in available:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return available[number]

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[ModelVersionStatus]:
        """State and error of one version, or of all, in the order of their numbers.

        Raises:
            RequestError: NOT_FOUND, no such model or version; INVALID_ARGUMENT, no such label.
        """
        if label is not None:
            version = self._labelled(name, label)
        versions = self._versions.get(name, {})
        if version is None and not versions:
            raise RequestError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in versions:
            raise RequestError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        numbers = sorted(versions) if version is None else [version]
        return [versions[number].status() for number in numbers]

    def _labelled(self, name: str, label: str) -> int:
        try:
            return self._labels[name][label]
        except KeyError:
            raise invalid(f"Unrecognized servable version label: {label}") from None

    # What there ought to be

    def poll(self) -> None:
        """Loads and unloads once, as the configuration and the directories are now.

        Raises:
            ValueError: the configuration cannot be read.
            RequestError: FAILED_PRECONDITION, a label of a version that is not available; the models are served all the same.
        """
        with self._polling:
            self._follow(self._configuration())

    def reload(self, config: ModelServerConfig) -> None:
        """Serves `config` from now on instead of what was configured before, and loads its models.

        Raises:
            RequestError: a label of a version that is not available, or UNKNOWN, models that do not load.
        """
        before = set(self._configs)
        with self._polling:
            self._configuration = lambda: config
            self._follow(config)
        missing = [name for name in self._configs if name not in before and not self._loaded.get(name)]
        if missing:
            why = ", ".join(f"{{{name} {self.why(name)}}}" for name in missing)
            raise RequestError(Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{why}}}")

    def watch(self, seconds: float) -> None:
        """Polls every so many seconds, in a thread, until `close`; 0 never."""
        if seconds > 0:
            threading.Thread(target=self._watch, args=(seconds,), name="poll", daemon=True).start()

    def close(self) -> None:
        """Ends polling and lets go of the models."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._versions, self._loaded = {}, {}

    def _watch(self, seconds: float) -> None:
        said = ""
        while not self._stop.wait(seconds):
            try:
                self.poll()
                said = ""
            except Exception as error:  # what is served stays
                if str(error) != said:
                    log.warning("%s", error)
                said = str(error)

    def _follow(self, config: ModelServerConfig) -> None:
        configs = {model.name: model for model in config.model_config_list.config}
        before, self._configs = self._configs, configs
        for name in sorted(self._versions.keys() | configs.keys()):
            wanted = _wanted(configs[name]) if name in configs else {}
            if wanted is not None:
                self._settle(name, wanted)
            if name in configs.keys() - before.keys() and not self._versions.get(name):
                log.warning("Expected a version of model %s. Received: none yet in %s.", name, configs[name].base_path)
        self._label(configs)

    def _settle(self, name: str, wanted: dict[int, pathlib.Path]) -> None:
        """Loads the versions that are wanted, and then unloads those that are not."""
        versions = dict(self._versions.get(name, {}))
        for number in sorted(wanted, reverse=True):
            version = versions.get(number)
            if version is None or version.path != wanted[number] or (version.state == "END" and version.code == Code.OK):
                version = Version(wanted[number])
            versions[number] = version
            self._versions = {**self._versions, name: dict(versions)}
            if version.due(self._settings):
                version.load(self._settings, self._pool)
                self._publish(name)
        gone = [version for number, version in versions.items() if number not in wanted and version.servable is not None]
        for version in gone:
            version.unload()
        if gone:
            self._publish(name)
            gc.unfreeze()  # the server freezes what it starts with
            gc.collect()  # a session is part of a cycle with its graph
            gc.freeze()

    def _publish(self, name: str) -> None:
        versions = self._versions[name].items()
        available = {number: version.servable for number, version in versions if version.servable is not None}
        self._loaded = {**self._loaded, name: available}

    def _label(self, configs: dict[str, ModelConfig]) -> None:
        labels: dict[str, dict[str, int]] = {}
        for name, config in configs.items():
            for label, number in config.version_labels.items():
                moved = self._labels.get(name, {}).get(label, number) != number
                lenient = self._settings.allow_version_labels_for_unavailable_models and not moved
                if not lenient and number not in self._loaded.get(name, {}):
                    raise RequestError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(name, {})[label] = number
        self._labels = labels

    def why(self, name: str) -> str:
        """What kept the versions of a model from loading, if none is available."""
        versions = self._versions.get(name, {}).values()
        return "" if self._loaded.get(name) else "; ".join(version.message for version in versions)


def _wanted(config: ModelConfig) -> dict[int, pathlib.Path] | None:
    """The versions that a policy wants of those in the base path, by number; None when the path cannot be read."""
    try:
        with os.scandir(config.base_path) as entries:
            found = {
                int(entry.name): pathlib.Path(entry.path)
                for entry in entries
                if entry.name.isdecimal() and len(entry.name) < 19 and entry.is_dir()
            }
    except OSError:
        return None
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return found
    if choice == "specific":
        return {number: found[number] for number in policy.specific.versions if number in found}
    count = policy.latest.num_versions or 1
    return {number: found[number] for number in sorted(found)[-count:]}
