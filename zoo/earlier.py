"""Models of versions in which the prior of a model was its density."""

import contextlib
import io
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator

import h5py

OLD, NEW = "density", "prior"
WEIGHTS = "model.weights.h5"


def renamed(config: dict) -> dict:
    """The configuration of a model under present names. Where codes are discrete there was a mixture, which is left out."""
    if OLD not in config:
        return config
    quantized = config.get("bottleneck", {}).get("class_name") == "VectorQuantized"
    rest = {key: value for key, value in config.items() if key != OLD}
    return rest if quantized else {**rest, NEW: config[OLD]}


@contextlib.contextmanager
def as_saved_now(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A `.keras` file that can be loaded: this one, or a copy with the weights under their present names."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        weights = io.BytesIO(archive.read(WEIGHTS))
        with h5py.File(weights, "r+") as groups:
            old = OLD in groups
            if old:
                groups.move(OLD, NEW)
        if not old:
            yield path
            return
        copy = pathlib.Path(folder) / path.name
        with zipfile.ZipFile(copy, "w") as written:
            for name in archive.namelist():
                written.writestr(name, weights.getvalue() if name == WEIGHTS else archive.read(name))
        yield copy
