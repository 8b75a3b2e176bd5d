"""TensorFlow Lite models beside SavedModels: with signatures of their own, with those of early converters, and without any."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import flatbuffers
import half_plus_two
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.models.lite import SIGNATURES, Lite
from serving.models.servable import Limits, Loading, Servable
from serving.status import RequestError

PREFERRED = Loading(prefer_tflite_model=True)


@pytest.fixture(scope="module")
def converted() -> bytes:
    """3 x + 1 of any number of rows of two, and the sum of each."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def predict(x):
        return {"y": tf.matmul(x, 3 * tf.eye(2)) + 1, "total": tf.reduce_sum(x, axis=1)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tf.lite.TFLiteConverter.from_concrete_functions([predict.get_concrete_function()], module).convert()


def _changed(content: bytes, signature: SignatureDef | None = None) -> bytes:
    """The model without its signatures, or with one in its metadata."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.signatureDefs = None
    if signature is not None:
        builder = flexbuffers.Builder()
        with builder.Map():
            builder.String("serving_default", signature.SerializeToString().decode("ascii"))
        buffer, metadata = schema.BufferT(), schema.MetadataT()
        buffer.data = list(builder.Finish())
        metadata.name, metadata.buffer = SIGNATURES, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [metadata]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _written(base, content: bytes):
    half_plus_two.write_tf1(base / "1")
    (base / "1" / "model.tflite").write_bytes(content)
    return base / "1"


X = np.array([[1, 2], [3, 4], [5, 6]], "float32")


def test_signatures_of_the_model_are_batched(converted, tmp_path):
    path = _written(tmp_path, converted)
    with ThreadPoolExecutor(4) as pool:
        endpoint = Servable(path, pool, Limits(num_batch_threads=2), PREFERRED).endpoint("")
        assert endpoint.joins and endpoint.inputs["x"].shape == (None, 2) and endpoint.method == "tensorflow/serving/predict"
        for rows in (3, 1):
            outputs = endpoint.run({"x": X[:rows]})
            np.testing.assert_allclose(outputs["y"], 3 * X[:rows] + 1)
            np.testing.assert_allclose(outputs["total"], X[:rows].sum(axis=1))
        answers = pool.map(lambda scale: endpoint.run({"x": scale * X})["y"], range(20))
        for scale, answer in enumerate(answers):
            np.testing.assert_allclose(answer, 3 * scale * X + 1)
        with pytest.raises(RequestError, match=r"Expected shape \(None, 2\) .* takes no such shape"):
            endpoint.run({"x": np.zeros((2, 3), "float32")})
        np.testing.assert_allclose(endpoint.run({"x": X})["y"], 3 * X + 1)
        other = Servable(path, pool, Limits())  # the SavedModel is there too
        assert set(other.endpoints) == {"serving_default", "regress_x_to_y", "classify_x_to_y"}


def test_signatures_in_the_metadata_and_names_of_tensors_without_signatures(converted, tmp_path):
    bare = Lite(_written(tmp_path / "bare", _changed(converted)))
    (sent,), answers = bare.signatures["serving_default"].inputs, bare.signatures["serving_default"].outputs
    results = bare.call("serving_default", [sent], [*answers])(X)
    (y,) = (name for name, result in zip(answers, results, strict=True) if result.ndim == 2)
    np.testing.assert_allclose(results[[*answers].index(y)], 3 * X + 1)
    signature = SignatureDef(method_name="tensorflow/serving/predict")
    for infos, name, tensor in ((signature.inputs, "in", f"{sent}:0"), (signature.outputs, "out", y)):
        infos[name].name, infos[name].dtype = tensor, tf.float32.as_datatype_enum
        for size in X.shape:
            infos[name].tensor_shape.dim.add(size=size)
    with ThreadPoolExecutor(1) as pool:
        path = _written(tmp_path / "kept", _changed(converted, signature))
        (outputs,) = Servable(path, pool, Limits(), PREFERRED).endpoint("").run({"in": X}).items()
    assert outputs[0] == "out"
    np.testing.assert_allclose(outputs[1], 3 * X + 1)


def test_a_file_that_is_no_model_does_not_load(tmp_path):
    path = _written(tmp_path, b"no model")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="model"):
        Servable(path, pool, Limits(), PREFERRED)
