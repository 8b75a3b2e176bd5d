"""The served models: which versions should be loaded, which are, and their states."""

import gc
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.models.batcher import Limits
from serving.models.configuration import batching_of_version
from serving.models.servable import Loading, Servable
from serving.models.sessions import has_loops
from serving.quiet import tensorflow as tf
from serving.status import Code, RequestError, invalid, request_error
from serving.versions import numbered, why_none

THREADS = 64  # for batches; most of the time they wait for the model
ENDED = 2  # ended versions of a model whose status is kept
log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How models are loaded and followed; the names are those of TensorFlow Serving's flags."""

    limits: Limits = Limits()
    loading: Loading = Loading()
    enable_batching: bool = True
    enable_per_model_batching_parameters: bool = False
    num_load_threads: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000

    def with_threads(self, paths: Sequence[pathlib.Path]) -> "Settings":
        """These settings with a number of threads that run one operation, which TensorFlow takes from the first session of a
        process: one if all of the first models have loops, whose many small operations lose most of their time by waking
        others; else as many as there are cores. A number that is set stays."""
        settings = ConfigProto()
        settings.CopyFrom(self.loading.settings or settings)
        if not settings.intra_op_parallelism_threads and all(has_loops(path, self.loading.saved_model_tags) for path in paths):
            settings.intra_op_parallelism_threads = 1
        return self._replace(loading=self.loading._replace(settings=settings))

    def limits_of(self, path: pathlib.Path) -> Limits | None:
        """The sizes of batches of the version in a folder; None if its requests are not joined.

        Raises:
            ValueError: the version has a file of them that is not valid.
        """
        if not self.enable_batching:
            return None
        if self.enable_per_model_batching_parameters:
            return batching_of_version(path, self.limits.num_batch_threads)
        return self.limits


class Version:
    """One version of a model and its state; `servable` is set while it is available.

    If its path changes, it stays available from the old path, `loaded`, until the new one has loaded.
    """

    def __init__(self, number: int, path: pathlib.Path):
        self.number, self.wanted = number, True
        self.servable: Servable | None = None
        self.loaded: pathlib.Path | None = None
        self.want(path)

    def want(self, path: pathlib.Path) -> None:
        """Sets the path to load it from."""
        self.path, self.state = path, "START"
        self.code, self.message = Code.OK, ""
        self.tries, self.tried = 0, 0.0

    def load(self, settings: Settings, pool: ThreadPoolExecutor) -> None:
        """Loads it, or notes why that failed."""
        self.state, self.tries, self.tried = "LOADING", self.tries + 1, time.monotonic()
        try:
            self.servable = Servable(self.path, pool, settings.limits_of(self.path), settings.loading)
        except Exception as error:
            self.state, self.code = "END", request_error(error).code
            self.message = f"{type(error).__name__}: {error}"
            log.warning("Expected a SavedModel in %s. Received: %s", self.path, self.message)
        else:
            self.loaded, self.code, self.message = self.path, Code.OK, ""

    def unload(self) -> None:
        """Takes it out of service; requests that already hold the servable are still answered."""
        self.servable, self.loaded, self.state = None, None, "END"

    def due(self, settings: Settings) -> bool:
        """Whether to load it now: it was not tried yet, or is due for a retry."""
        if self.loaded == self.path or self.tries > settings.max_num_load_retries:
            return False
        waited = time.monotonic() - self.tried
        return not self.tries or waited >= settings.load_retry_interval_micros / 1e6

    def status(self) -> ModelVersionStatus:
        """Its state and error."""
        available = self.servable is not None
        status = ModelVersionStatus(version=self.number, state="AVAILABLE" if available else self.state)
        status.status.error_code = Code.OK if available else self.code
        status.status.error_message = self.message
        return status


class Models:
    """The models of a configuration, loaded as their version policies say.

    Args:
        configuration: returns what is to be served; called by every `poll`.
        settings: how models are loaded.

    `get` and `status` may be called from any thread at any time. A loaded version stays until its successor has loaded, or
    until it is neither wanted nor on disk any more.
    """

    def __init__(self, configuration: Callable[[], ModelServerConfig], settings: Settings = Settings()):  # noqa: B008
        self._configuration, self._settings = configuration, settings
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batch")
        self._configs: dict[str, ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}  # replaced, never changed, so that readers need no lock
        self._loaded: dict[str, dict[int, Servable]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._begun = False  # whether a version was ever loaded
        self._missing: dict[str, str] = {}  # why a model has no version, by name
        self._polling, self._changing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()

    # The current state

    @property
    def names(self) -> Collection[str]:
        """Names of the configured models."""
        return self._configs.keys()

    @property
    def ready(self) -> bool:
        """Whether there are models, and each has an available version."""
        return bool(self._configs) and all(map(self.answers, self._configs))

    def answers(self, name: str) -> bool:
        """Whether a model has an available version."""
        return bool(self._loaded.get(name))

    def get(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable of a version or a label, by default of the highest available version.

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
            raise self._not_found(f"Servable not found for request: {wanted}", name)
        return available[number]

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[ModelVersionStatus]:
        """State and error of one version, or of all, newest first.

        Raises:
            RequestError: NOT_FOUND, no such model or version; INVALID_ARGUMENT, no such label.
        """
        if label is not None:
            version = self._labelled(name, label)
        versions = self._versions.get(name, {})
        if version is None and not versions:
            raise self._not_found(f"Could not find any versions of model {name}", name)
        if version is not None and version not in versions:
            raise RequestError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        numbers = sorted(versions, reverse=True) if version is None else [version]
        return [versions[number].status() for number in numbers]

    def why(self, name: str) -> str:
        """Why no version of a model is available: errors of loading, or what its base path holds instead; else ""."""
        if self._loaded.get(name):
            return ""
        messages = [version.message for version in self._versions.get(name, {}).values() if version.message]
        return "; ".join(messages) or self._missing.get(name, "")

    def failed(self, name: str) -> bool:
        """Whether a model has versions, none of which loaded."""
        return name not in self._missing and not self._loaded.get(name)

    def _not_found(self, message: str, name: str) -> RequestError:
        return RequestError(Code.NOT_FOUND, f"{message}. {self._missing[name]}" if name in self._missing else message)

    def _labelled(self, name: str, label: str) -> int:
        try:
            return self._labels[name][label]
        except KeyError:
            raise invalid(f"Unrecognized servable version label: {label}") from None

    # Following the configuration

    def poll(self) -> None:
        """Loads and unloads versions once, by the current configuration and directories.

        Raises:
            ValueError: the configuration cannot be read.
            RequestError: FAILED_PRECONDITION, a label of a version that is not available; the models are served
                nevertheless.
        """
        with self._polling, tf.profiler.experimental.Trace("poll"):
            self._follow(self._configuration())

    def reload(self, config: ModelServerConfig) -> None:
        """Replaces the configuration by `config`, and loads its models.

        Raises:
            RequestError: a label of a version that is not available; UNKNOWN, models that did not load.
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
        """Polls at this interval, in a thread, until `close`; never if it is 0."""
        if seconds > 0:
            threading.Thread(target=self._watch, args=(seconds,), name="poll", daemon=True).start()

    def close(self) -> None:
        """Ends polling and releases the models."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._versions, self._loaded = {}, {}

    def _watch(self, seconds: float) -> None:
        logged = ""
        while not self._stop.wait(seconds):
            try:
                self.poll()
                logged = ""
            except Exception as error:  # what is loaded stays
                if str(error) != logged:
                    log.warning("%s", error)
                logged = str(error)

    def _follow(self, config: ModelServerConfig) -> None:
        configs = {model.name: model for model in config.model_config_list.config}
        self._configs = configs
        due = []
        for name in sorted(self._versions.keys() | configs.keys()):
            wanted = _wanted(configs[name]) if name in configs else {}
            if wanted is not None:
                due += self._want(name, wanted, name in configs)
        self._load(due)
        self._miss(configs)
        self._label(configs)

    def _want(self, name: str, wanted: dict[int, pathlib.Path], configured: bool) -> list[tuple[str, Version]]:
        """Notes which versions of a model are wanted, and unloads those that need not wait for others to load; returns those to
        load now, newest first."""
        versions = dict(self._versions.get(name, {}))
        for number, path in wanted.items():
            version = versions.setdefault(number, Version(number, path))
            if version.path != path or (version.servable is None and not version.wanted):
                version.want(path)
        for number, version in versions.items():
            version.wanted = number in wanted
        self._versions = {**self._versions, name: versions}
        self._retire(name, configured)
        return [(name, versions[number]) for number in sorted(wanted, reverse=True) if versions[number].due(self._settings)]

    def _load(self, due: list[tuple[str, Version]]) -> None:
        """Loads versions, one after another, or several at a time where there are threads for it."""
        if due and not self._begun:
            self._begun, self._settings = True, self._settings.with_threads([version.path for _, version in due])
        if self._settings.num_load_threads > 1 and len(due) > 1:
            with ThreadPoolExecutor(self._settings.num_load_threads, thread_name_prefix="load") as pool:
                list(pool.map(lambda one: self._load_one(*one), due))
        else:
            for name, version in due:
                self._load_one(name, version)

    def _load_one(self, name: str, version: Version) -> None:
        """Loads a version, and unloads those that it replaces."""
        replaces = version.servable is not None
        version.load(self._settings, self._pool)
        with self._changing:
            self._publish(name)
            self._retire(name, configured=True)
        if replaces:
            gc.collect()  # a session is part of a cycle with its graph

    def _retire(self, name: str, configured: bool) -> None:
        """Unloads replaced versions, and forgets all but the last few that have ended."""
        versions = self._versions[name]
        gone = _replaced(versions) if configured else [version for version in versions.values() if version.servable is not None]
        for version in gone:
            version.unload()
        ended = sorted(number for number, version in versions.items() if version.servable is None and not version.wanted)
        kept = {number: version for number, version in versions.items() if number not in ended[:-ENDED]}
        self._versions = {**self._versions, name: kept}
        if gone:
            self._publish(name)
            gc.collect()

    def _publish(self, name: str) -> None:
        versions = self._versions[name].items()
        available = {number: version.servable for number, version in versions if version.servable is not None}
        self._loaded = {**self._loaded, name: available}

    def _miss(self, configs: dict[str, ModelConfig]) -> None:
        """Notes why models have no version, and logs new reasons."""
        missing = {}
        for name, config in configs.items():
            if not any(version.wanted or version.servable for version in self._versions.get(name, {}).values()):
                missing[name] = why_none(config.base_path, list(config.model_version_policy.specific.versions))
                if missing[name] != self._missing.get(name):
                    log.warning("Model %s: %s", name, missing[name])
        self._missing = missing

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


def _replaced(versions: dict[int, Version]) -> list[Version]:
    """The versions to unload: those loaded and not wanted, except one, the newest first, for each wanted version that has not
    loaded yet.

    TensorFlow Serving's `availability_preserving_policy.cc` keeps at most one, and none if a wanted one has loaded. A version
    whose folder is gone is kept only if no other could answer.
    """
    loaded = [version for _, version in sorted(versions.items()) if version.servable is not None]
    wanted = sum(version.wanted for version in versions.values())
    idle = [version for version in loaded if not version.wanted]
    answering = len(loaded) - len(idle)
    kept = idle if wanted and not answering else [version for version in idle if not _is_gone(version.loaded)]
    if wanted:
        kept = kept[max(0, len(kept) - wanted + answering) :]
    return [version for version in idle if version not in kept]


def _is_gone(path: pathlib.Path) -> bool:
    try:
        return not path.is_dir()
    except PermissionError:
        return False


def _wanted(config: ModelConfig) -> dict[int, pathlib.Path] | None:
    """The versions in the base path that the policy selects, by number; None if the path cannot be read."""
    try:
        found = numbered(config.base_path)
    except OSError:
        return None
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return found
    if choice == "specific":
        return {number: found[number] for number in policy.specific.versions if number in found}
    count = policy.latest.num_versions or 1
    return {number: found[number] for number in list(found)[-count:]}
