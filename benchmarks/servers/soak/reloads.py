"""A new version of one of the models every second, in turn, while an old one goes."""

import pathlib
import shutil
import threading
import time

import grpc
from clients import Common
from models import FACTORS, LABEL, write
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

INTERVAL = 1.0  # seconds between two reloads
PATIENCE = 120  # seconds for a new version to be available
BROKEN = 4  # every so many versions of the first model, one without its variables comes before
CHOSEN = len(FACTORS) - 1  # the model whose versions the configuration names
KEPT = 2  # versions that this and the second model have


class Reloads(threading.Thread):
    """Puts new versions in their places until it is to `stop`; `count` is how many, `problem` what went wrong.

    The first model has its newest version alone, the second its two newest, and of the last the configuration names two, with a
    label for the newer, so that each new one takes a HandleReloadConfigRequest.
    """

    def __init__(self, folder: pathlib.Path, common: Common):
        super().__init__(daemon=True)
        self._folder, self._common, self._ended = folder, common, threading.Event()
        self._numbers = [2] * len(FACTORS)  # of the newest versions
        self.count, self.problem = 0, ""
        for number, model in enumerate(FACTORS):
            for version in (1, 2):
                write(folder / model, model, version)
            common.oldest[number] = common.newest[number] = 2

    def config(self) -> ModelServerConfig:
        """The configuration with the versions that there are."""
        config = ModelServerConfig()
        for number, model in enumerate(FACTORS):
            added = config.model_config_list.config.add(name=model, base_path=str(self._folder / model))
            added.model_platform = "tensorflow"
            if number == 1:
                added.model_version_policy.latest.num_versions = KEPT
            elif number == CHOSEN:
                newest = self._numbers[number]
                added.model_version_policy.specific.versions.extend((newest - 1, newest))
                added.version_labels[LABEL] = newest
        return config

    def follow(self, address: str) -> None:
        """Begins with the server at this address."""
        self._models = ModelServiceStub(grpc.insecure_channel(address))
        self.start()

    def run(self) -> None:
        while not self._ended.is_set():
            start = time.monotonic()
            try:
                self._reload(self.count % len(FACTORS))
            except Exception as error:
                self.problem = f"{type(error).__name__}: {error}"
                return
            self.count += 1
            self._ended.wait(max(0.0, start + INTERVAL - time.monotonic()))

    def stop(self) -> None:
        """Ends it, after the reload that has begun."""
        self._ended.set()
        self.join()

    def _reload(self, number: int) -> None:
        model = [*FACTORS][number]
        base, old = self._folder / model, self._numbers[number]
        if number == 0 and self.count // len(FACTORS) % BROKEN == BROKEN - 1:
            self._numbers[number] += 1
            write(base, model, self._numbers[number], broken=True)
        self._numbers[number] += 1
        newest = self._common.newest[number] = self._numbers[number]  # from here on it may answer
        write(base, model, newest)
        if number == CHOSEN:
            self._models.HandleReloadConfigRequest(ReloadConfigRequest(config=self.config()), timeout=PATIENCE)
        self._wait_for(model, newest)
        self._common.oldest[number] = newest  # from here on no other may
        for version in range(old - KEPT, newest - KEPT):
            shutil.rmtree(base / str(version), ignore_errors=True)

    def _wait_for(self, model: str, version: int) -> None:
        request, until = GetModelStatusRequest(model_spec={"name": model}), time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for status in self._models.GetModelStatus(request, timeout=PATIENCE).model_version_status:
                if status.version == version and status.state == ModelVersionStatus.AVAILABLE:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"Expected version {version} of {model} to be available in {PATIENCE} s. Received: it is not.")
