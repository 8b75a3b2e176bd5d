"""A SavedModel in a graph session, as in TensorFlow Serving."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from serving.models.graphs import Operations
from serving.quiet import tensorflow as tf

LOOPS = {"While", "StatelessWhile", "NextIteration", "For", "PyFunc", "EagerPyFunc"}  # their time may depend on values
CALLING, OWN = -1, 0  # which threads run a graph's operations: the caller's, or those of the session


class Session:
    """A SavedModel; `signatures` are its `SignatureDef`s by name.

    Args:
        path: of the version.
        tags: of the graph in the SavedModel.
        settings: of the session.

    Raises:
        OSError, tf.errors.OpError: not a SavedModel.
        RuntimeError: no graph with these tags.
    """

    def __init__(self, path: pathlib.Path, tags: Sequence[str] = ("serve",), settings: config_pb2.ConfigProto | None = None):
        settings = config(settings)
        self._threads = OWN if settings.inter_op_parallelism_threads > 0 else CALLING
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=settings)
        with self._session.graph.as_default():
            graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(path))
        self.signatures = graph.signature_def
        self._operations = Operations(graph.graph_def)

    def close(self) -> None:
        """Ends it; no signature can be called any more."""
        self._session.close()

    def has_loops(self, name: str) -> bool:
        """Whether the time of a signature may depend on the values of its inputs."""
        return _loops(self._operations, self.signatures[name])

    def call(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Callable:
        """A signature as a function of arrays in the order of `inputs`; it returns a list of them in that of `outputs`."""
        signature = self.signatures[name]
        # In the calling thread a small graph takes 29 µs; in the session's pool, with `make_callable`, 200 µs.
        options = config_pb2.CallableOptions(
            feed=[signature.inputs[each].name for each in inputs], fetch=[signature.outputs[each].name for each in outputs]
        )
        options.run_options.inter_op_thread_pool = self._threads
        dtypes = [tf.as_dtype(signature.outputs[each].dtype).as_numpy_dtype for each in outputs]

        @functools.cache
        def made():  # on first use: making it takes longer than many runs
            return self._session._make_callable_from_options(options)

        def call(*values: np.ndarray) -> list[np.ndarray]:
            results = made()(*values)  # scalars are not arrays, and strings are bytes
            return [
                result if isinstance(result, np.ndarray) else np.array(result, dtype)
                for result, dtype in zip(results, dtypes, strict=True)
            ]

        return call


def has_loops(path: pathlib.Path, tags: Sequence[str] = ("serve",)) -> bool:
    """Whether the default signature of a SavedModel has loops, by its file alone; False where that cannot be read."""
    if not (path / "saved_model.pb").is_file():
        return False
    try:
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError):
        return False
    graphs = [graph for graph in saved.meta_graphs if set(graph.meta_info_def.tags) == set(tags)]
    return any(
        _loops(Operations(graph.graph_def), graph.signature_def["serving_default"])
        for graph in graphs
        if "serving_default" in graph.signature_def
    )


def _loops(operations: Operations, signature: SignatureDef) -> bool:
    return bool(LOOPS & operations.of(info.name for info in signature.outputs.values()))


def config(settings: config_pb2.ConfigProto | None = None) -> config_pb2.ConfigProto:
    """Session settings that make the first run of a signature short, besides those given."""
    config = config_pb2.ConfigProto()
    if settings is not None:
        config.CopyFrom(settings)
    config.experimental.disable_thread_spinning = True
    # Nested functions, such as those that decode pictures, are slow to set up unless they are inlined.
    config.graph_options.optimizer_options.do_function_inlining = True
    # Without a GPU the graph optimizer gains little (nothing for convolutions, a tenth for small dense models), but takes a
    # quarter of a second for each signature.
    config.graph_options.rewrite_options.disable_meta_optimizer = not tf.config.list_physical_devices("GPU")
    return config
