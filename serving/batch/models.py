"""Which exported model a name means, an export, a run or a preset, and what it can be asked."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from tensorflow.core.protobuf import saved_model_pb2

import zoo
from serving.export import export, export_run
from serving.models.schemas import columns
from serving.models.servable import TensorSpec, tensor_spec
from serving.versions import SAVED_MODEL, numbered
from training.run import Run
from zoo.presets import WEIGHTS

SERVED = "serve"  # the tag of the graph that is served


@contextlib.contextmanager
def version(model: str | os.PathLike, remote: bool = False) -> Iterator[pathlib.Path]:
    """The path of a version of a model: of an export the highest, or of a run; a preset is exported for as long as this lasts.

    Args:
        model: path of a version of an exported model, of the folder of its versions, or of a run; or the name of a preset.
        remote: whether machines ask that do not have this one's temporary folder.

    Raises:
        ValueError: none of these.
    """
    path = pathlib.Path(model)
    found = _exported(path)
    if found:
        yield found.resolve()
    elif remote:
        raise ValueError(
            f"Expected an exported model, on a path that all workers have. Received: {model}. "
            "Try python -m serving export RUN --output DIR."
        )
    elif Run(path).model.exists() or str(model) in zoo.list() or path.is_dir():
        with tempfile.TemporaryDirectory(prefix="zoo-batch-") as folder:
            yield export_run(path, folder) if Run(path).model.exists() else export(zoo.load(model), folder, "model")
    else:
        raise ValueError(
            f"Expected an exported model, a run, or a preset: {', '.join(zoo.list())}. Received: {model}. Try the full path."
        )


def identity(model: str | os.PathLike) -> list:
    """What tells a model that there is from others: the name of a preset, or the path of a folder and when the model in it was
    written."""
    path = pathlib.Path(model)
    exported = _exported(path)
    written = [exported / SAVED_MODEL] if exported else [Run(path).model, path / WEIGHTS]
    times = [each.stat().st_mtime_ns for each in written if each.exists()]
    return [str((exported or path).resolve()), times[0]] if times else [str(model)]


def _exported(path: pathlib.Path) -> pathlib.Path | None:
    if (path / SAVED_MODEL).exists():
        return path
    bases = [path, *sorted(Run(path).export.glob("*"))] if path.is_dir() else []
    versions = [version for base in bases if base.is_dir() for version in numbered(base).values()]
    return next((each for each in reversed(versions) if (each / SAVED_MODEL).exists()), None)


def signatures(path: pathlib.Path) -> dict[str, tuple[dict[str, TensorSpec], dict[str, TensorSpec]]]:
    """The inputs and outputs, by name, of the signatures of an exported model that have a batch axis everywhere."""
    saved = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL).read_bytes())
    tabular, found = columns(path), {}
    served = next(graph for graph in saved.meta_graphs if SERVED in graph.meta_info_def.tags)
    for name, signature in served.signature_def.items():
        if not signature.inputs or not signature.outputs:
            continue
        specs = [
            {key: tensor_spec(info, key in tabular) for key, info in sorted(part.items())}
            for part in (signature.inputs, signature.outputs)
        ]
        if all(spec.shape and spec.shape[0] is None for part in specs for spec in part.values()):
            found[name] = (specs[0], specs[1])
    return found
