"""A TensorFlow Lite model, `model.tflite` in the folder of a version, run by LiteRT, as the interpreter is called by now."""

import pathlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.quiet import tensorflow as tf

FILE = "model.tflite"
DEFAULT, PREDICT = "serving_default", "tensorflow/serving/predict"
SIGNATURES = b"signature_defs_metadata"  # a map of serialized SignatureDefs, which early converters wrote


class Lite:
    """A model for TensorFlow Lite; `signatures` are its `SignatureDef`s by name.

    They are those in its metadata, as TensorFlow Serving reads them, or its own, or else `serving_default`, with the names of
    its tensors.

    Args:
        path: of the version.

    Raises:
        OSError: no such file.
        ValueError, RuntimeError: not such a model, or one whose operations the interpreter does not have.
    """

    def __init__(self, path: pathlib.Path):
        self._content = (path / FILE).read_bytes()
        self._idle: deque = deque()  # interpreters, each of which runs one batch at a time
        interpreter = self._interpreter()
        kept, own = _kept(self._content), interpreter.get_signature_list()
        self._runs_signatures = bool(own) and not kept
        if self._runs_signatures:
            runners = {name: interpreter.get_signature_runner(name) for name in own}
            self.signatures = {
                name: _signature(runner.get_input_details(), runner.get_output_details()) for name, runner in runners.items()
            }
        else:
            inputs, outputs = (_by_name(part) for part in (interpreter.get_input_details(), interpreter.get_output_details()))
            self.signatures = kept or {DEFAULT: _signature(inputs, outputs)}
            self._places = {name: details["index"] for name, details in {**inputs, **outputs}.items()}
        self._idle.append(interpreter)

    def has_loops(self, name: str) -> bool:
        """Whether the time of a signature may depend on the values of its inputs: it is not known."""
        return True

    def call(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Callable:
        """A signature as a function of arrays in the order of `inputs`; it returns a list of them in that of `outputs`."""
        signature = self.signatures[name]
        run = self._run_signature if self._runs_signatures else self._run_tensors

        def call(*values: np.ndarray) -> list[np.ndarray]:
            for key, value in zip(inputs, values, strict=True):
                _require_shape(key, value, signature)
            try:
                interpreter = self._idle.pop()
            except IndexError:
                interpreter = self._interpreter()
            try:
                results = run(interpreter, name, signature, dict(zip(inputs, values, strict=True)))
            except (RuntimeError, ValueError) as problem:
                reason = str(problem).splitlines()[0]
                raise tf.errors.InvalidArgumentError(None, None, f"The model failed on this request: {reason}") from None
            finally:
                self._idle.append(interpreter)
            return [results[each] for each in outputs]

        return call

    def _interpreter(self):
        interpreter = Interpreter(model_content=self._content)
        interpreter.allocate_tensors()
        return interpreter

    def _run_signature(self, interpreter, name: str, _, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return interpreter.get_signature_runner(name)(**values)

    def _run_tensors(self, interpreter, _, signature: SignatureDef, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        places = {key: self._place(signature.inputs[key].name) for key in values}
        for key, value in values.items():
            interpreter.resize_tensor_input(places[key], value.shape)
        interpreter.allocate_tensors()
        for key, value in values.items():
            interpreter.set_tensor(places[key], value)
        interpreter.invoke()
        return {key: interpreter.get_tensor(self._place(info.name)) for key, info in signature.outputs.items()}

    def _place(self, tensor: str) -> int:
        """The number of a tensor; early converters left out the `:0` of names in TensorFlow."""
        return self._places[tensor if tensor in self._places else tensor.rpartition(":")[0]]


def _require_shape(name: str, value: np.ndarray, signature: SignatureDef) -> None:
    """Refuses values of other sizes than declared but for the first: some operations would take them for more rows."""
    sizes = [dim.size for dim in signature.inputs[name].tensor_shape.dim]
    others = zip(sizes[1:], value.shape[1:], strict=False)
    if len(sizes) == value.ndim and any(size not in (-1, given) for size, given in others):
        raise tf.errors.InvalidArgumentError(None, None, f"The model takes no such shape as input {name}")


def _by_name(tensors: Sequence[dict]) -> dict[str, dict]:
    return {details["name"]: details for details in tensors}


def _signature(inputs: Mapping[str, dict], outputs: Mapping[str, dict]) -> SignatureDef:
    signature = SignatureDef(method_name=PREDICT)
    for infos, tensors in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for name, details in tensors.items():
            info = infos[name]
            info.name, info.dtype = details["name"], tf.as_dtype(details["dtype"]).as_datatype_enum
            for size in details["shape_signature"]:
                info.tensor_shape.dim.add(size=int(size))
    return signature


def _kept(content: bytes) -> dict[str, SignatureDef]:
    """The signatures in the metadata of a model."""
    model = schema.Model.GetRootAs(content, 0)
    for metadata in map(model.Metadata, range(model.MetadataLength())):
        if metadata.Name() == SIGNATURES:
            written = flexbuffers.GetRoot(bytearray(model.Buffers(metadata.Buffer()).DataAsNumpy())).AsMap
            names = [key.AsKey for key in written.Keys]
            return {
                name: SignatureDef.FromString(bytes(value.AsStringBytes))
                for name, value in zip(names, written.Values, strict=True)
            }
    return {}
