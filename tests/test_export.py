"""Every export in a graph Session, as TensorFlow Serving runs it, against the model in Python."""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import MODELS, NAMES, PREDICTORS
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import training
import zoo
from serving.export import examples, export, export_run, load, saved_models
from serving.export.images import verbs
from serving.models import inference, sessions
from serving.models.serialized import serialized
from serving.models.servable import Limits, Loading, Servable
from serving.status import RequestError
from zoo.coding.fingerprint import CODING, ROUNDING, fingerprint


@pytest.fixture(params=[*NAMES, *PREDICTORS], scope="module")
def model(request):
    keras.utils.set_random_seed(0)
    return {**MODELS, **PREDICTORS}[request.param]()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("export"), "model")


def _loaded(path, settings=None):
    session = tf.compat.v1.Session(graph=tf.Graph(), config=settings)
    with session.graph.as_default():
        return session, tf.compat.v1.saved_model.load(session, ["serve"], str(path))


@pytest.fixture(scope="module")
def session(path):
    """With the settings of the embedded server, which make a signature's first run short."""
    session, graph = _loaded(path, sessions.config())
    yield session, graph
    session.close()


def _value(name: str, tensor, batch: int) -> np.ndarray:
    rng = np.random.default_rng(batch)
    shape = (batch, *tensor.shape[1:])
    if tensor.dtype == "string":
        return np.array([_file(rng, (8, 8)) for _ in range(batch)], object)
    low, high = (0, 10) if name == "label" else (-1000, 1000)
    return rng.integers(low, high, shape, "int32") if tensor.dtype == "int32" else rng.uniform(size=shape).astype("float32")


def _file(rng, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, shape, "uint8")).save(file, "PNG")
    return file.getvalue()


def _specs(tensors) -> dict:
    return {key: (tf.TensorShape(t.tensor_shape).as_list(), tf.as_dtype(t.dtype).name) for key, t in tensors.items()}


def _declared(tensors) -> dict:
    return {key: (list(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}


@pytest.mark.parametrize("batch", [1, 7])
def test_every_signature_answers_as_python_does(model, session, batch):
    session, graph = session
    declared = {name: verb.signature for name, verb in verbs(model).items()}
    served = {name: s for name, s in graph.signature_def.items() if s.method_name == "tensorflow/serving/predict"}
    assert set(served) == {"serving_default", *declared}
    for name, signature in served.items():
        verb = model.serving_default if name == "serving_default" else name
        assert _specs(signature.inputs) == _declared(declared[verb].inputs)
        assert _specs(signature.outputs) == _declared(declared[verb].outputs)
        (output,) = declared[verb].outputs
        values = {key: _value(key, tensor, batch) for key, tensor in declared[verb].inputs.items()}
        feeds = {signature.inputs[key].name: value for key, value in values.items()}
        received = session.run(signature.outputs[output].name, feeds)
        expected = _in_python(model, verb, list(values.values()))
        if output == "png_bytes":
            received = _decoded(received, expected.shape[-1])
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1.01 if output == "png_bytes" else 1e-5, err_msg=name)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A model with signatures of all kinds, and its export."""
    model = MODELS["vae"]()
    return model, export(model, tmp_path_factory.mktemp("vae"), "model")


def test_a_session_without_settings_answers_alike(vae):
    model, path = vae
    (default, graph), (quick, _) = _loaded(path), _loaded(path, sessions.config())
    for name, verb in verbs(model).items():
        if name.endswith(("_bytes", "_png")) and name != "reconstruct_png":  # which reads pictures and gives them
            continue
        served, (output,) = graph.signature_def[name], verb.signature.outputs
        feeds = {served.inputs[key].name: _value(key, tensor, 3) for key, tensor in verb.signature.inputs.items()}
        one, other = (session.run(served.outputs[output].name, feeds) for session in (default, quick))
        if output == "png_bytes":
            one, other = _decoded(one, 1).astype(int), _decoded(other, 1)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1 if output == "png_bytes" else 1e-6, err_msg=name)


def test_no_rows_get_no_answers(model, session):
    session, graph = session
    for name, verb in verbs(model).items():
        served = graph.signature_def[name]
        feeds = {
            served.inputs[key].name: np.zeros((0, *tensor.shape[1:]), object if tensor.dtype == "string" else tensor.dtype)
            for key, tensor in verb.signature.inputs.items()
        }
        for key, tensor in verb.signature.outputs.items():
            assert session.run(served.outputs[key].name, feeds).shape == (0, *tensor.shape[1:])


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 8, 8), (2, 64), (2, 4, 16, 1), (64,), (0,)])
def test_the_graph_holds_requests_to_the_declared_shapes(conv, shape):
    with pytest.raises(RequestError, match=r"Expected shape \(None, 8, 8, 1\) for input x") as refused:
        conv.endpoint("encode").run({"x": np.zeros(shape, "float32")})
    message = refused.value.message
    assert "{{" not in message and "[[" not in message  # where in its graph


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    """Run without Python's own checks of what is fed, as TensorFlow Serving runs it."""
    path = export(MODELS["conv"](), tmp_path_factory.mktemp("conv"), "conv")
    with ThreadPoolExecutor(1) as pool:
        yield Servable(path, pool, Limits(), Loading(enable_model_warmup=False))


def _in_python(model, verb: str, values: list[np.ndarray]) -> np.ndarray:
    """What the model answers in Python; pictures are decoded before, and their levels given after."""
    plain = verb if verb in model.signatures() else verb.rpartition("_")[0]
    if values[0].dtype == object:
        shape = next(iter(model.signatures()[plain].inputs.values())).shape
        values[0] = _decoded(values[0], shape[-1]).astype("float32") / 255
    answer = np.asarray(getattr(model, plain)(*values))
    return np.round(255 * answer.clip(0, 1)) if verb.endswith("_png") and plain != verb else answer


def _decoded(files: np.ndarray, channels: int) -> np.ndarray:
    images = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    return np.stack([image.reshape(*image.shape[:2], channels) for image in images])


def test_pictures_of_other_sizes_are_cropped_and_resized(tmp_path):
    model = MODELS["vae"]()
    shape = model.signatures()["encode"].inputs["x"].shape
    call = verbs(model)["reconstruct_bytes"].call
    rng = np.random.default_rng(0)
    wide = np.repeat(np.repeat(rng.integers(0, 256, shape[1:3], "uint8"), 4, 0), 4, 1)
    framed = np.pad(wide, ((0, 0), (8, 8)))
    files = []
    for image in (Image.fromarray(wide), Image.fromarray(framed), Image.fromarray(framed).convert("RGB")):
        files.append(io.BytesIO())
        image.save(files[-1], "PNG")
    answers = np.asarray(call(tf.constant([file.getvalue() for file in files])))
    np.testing.assert_allclose(answers[1:], answers[:1].repeat(2, 0), atol=1e-2)


def test_a_request_of_every_signature_is_kept_for_warming_up(model, path):
    records = tf.data.TFRecordDataset(str(path / "assets.extra" / "tf_serving_warmup_requests")).as_numpy_iterator()
    requests = [PredictionLog.FromString(record).predict_log.request for record in records]
    derived = examples.verbs(model, verbs(model))
    assert {request.model_spec.signature_name for request in requests} == {"serving_default", *verbs(model), *derived}
    assert bool(derived) == isinstance(model, zoo.Predictor)
    assert {request.model_spec.name for request in requests} == {"model"}


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors_take_examples(name, tmp_path, digits):
    """As TensorFlow Serving's Classify and Regress send them."""
    model, x = PREDICTORS[name](), digits[:3]
    verb = model.serving_default
    rows = Input()
    for row in x:
        rows.example_list.examples.add().features.feature["x"].float_list.value.extend(row.ravel())
    with ThreadPoolExecutor() as pool:
        served = Servable(export(model, tmp_path, "m"), pool, Limits(), Loading(enable_signature_method_name_check=True))
        method = {"classify": inference.CLASSIFY, "regress": inference.REGRESS}[verb]
        endpoint = inference.endpoint(served, f"{verb}_examples", method)
        assert endpoint.method == method
        outputs = endpoint.run({"inputs": serialized(rows)})
        with pytest.raises(RequestError, match=f"signature method_name to be {method}. Was: tensorflow/serving/predict"):
            inference.endpoint(served, "encode", method)
        with pytest.raises(RequestError, match="Feature: x"):
            endpoint.run({"inputs": np.array([b""], object)})
    if verb == "classify":
        labels, scores = inference.classes(outputs, 3)
        np.testing.assert_allclose(scores, model.classify(x), atol=1e-5)
        assert labels.tolist() == [[str(label).encode() for label in range(10)]] * 3
    else:
        np.testing.assert_allclose(inference.numbers(outputs, 3), model.regress(x), atol=1e-5)


def test_a_class_that_is_not_there_is_refused_in_the_graph(vae):
    session, graph = _loaded(vae[1])
    signature = graph.signature_def["generate_class"]
    for label in (-1, 10):
        feeds = {signature.inputs["label"].name: [label], signature.inputs["seed"].name: [0]}
        with pytest.raises(tf.errors.InvalidArgumentError, match="10"):
            session.run(signature.outputs["x"].name, feeds)


def test_weights_are_stored_once(model, path):
    stored = (path / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert stored < 1.02 * 4 * model.count_params() + 20_000


def test_an_export_gives_the_model_back(model, path):
    again = load(path)
    assert fingerprint(again, (*CODING, *ROUNDING)) == fingerprint(model, (*CODING, *ROUNDING))
    for weight, before in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_saved_models_without_their_model_are_refused(vae, tmp_path):
    folder = tmp_path / "m" / "1"
    shutil.copytree(vae[1], folder)
    (folder / "assets.extra" / "model.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match=r"Expected an export of this version\. Received: .*format 0, not 1.* Try the folder"):
        load(folder)
    (folder / "assets.extra" / "model.json").unlink()
    for path in (folder, folder.parent):
        with pytest.raises(ValueError, match=r"m/1, without assets.extra/model.json, .* of another program or of an earlier"):
            load(path)
    with pytest.raises(ValueError, match=r"Expected a SavedModel, or the folder of its versions\. Received: "):
        load(tmp_path)


def test_a_part_without_a_configuration_is_exported_all_the_same(tmp_path):
    class Scaled(keras.layers.Layer):
        def __init__(self, scale):
            super().__init__()
            self._scale = scale

        def call(self, x):
            return x * self._scale

    encoder = keras.Sequential([keras.Input((4,)), Scaled(np.ones(4, "float32"))])
    model = zoo.Autoencoder(encoder, zoo.Deterministic(2), zoo.linear(), zoo.SquaredError())
    path = export(model, tmp_path, "m")
    with pytest.raises(ValueError, match=r"without assets.extra/model.json"):
        load(path)


def test_no_compiled_functions(path):
    """TensorFlow Serving has XLA turned off unless a flag is given."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert functions and not any(f.attr["_XlaMustCompile"].b for f in functions)


def test_versions_count_up_and_never_change(tmp_path):
    model = MODELS["vectors"]()
    assert [export(model, tmp_path, "m").name for _ in range(2)] == ["1", "2"]
    assert export(model, tmp_path, "m", version=7).name == "7"
    with pytest.raises(FileExistsError, match="Try --version=8"):
        export(model, tmp_path, "m", version=7)
    with pytest.raises(ValueError, match="above 0"):
        export(model, tmp_path, "m", version=0)


def test_exports_at_the_same_time_take_two_versions(tmp_path, monkeypatch):
    model, write = MODELS["vectors"](), saved_models._write_warmup

    def overtaken(*arguments):
        write(*arguments)
        monkeypatch.setattr(saved_models, "_write_warmup", write)
        assert export(model, tmp_path, "m").name == "1"  # another export, between the choice of a number and its use

    monkeypatch.setattr(saved_models, "_write_warmup", overtaken)
    assert export(model, tmp_path, "m").name == "2"
    monkeypatch.setattr(saved_models, "_write_warmup", overtaken)
    (tmp_path / "m" / "1").rename(tmp_path / "m" / "9")
    (tmp_path / "m" / "2").rename(tmp_path / "m" / "²")  # no version
    (tmp_path / "m" / "9").rename(tmp_path / "one")
    with pytest.raises(FileExistsError, match="Try --version=2"):
        export(model, tmp_path, "m", version=1)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["1", "²"]


def test_a_failed_export_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):  # from the sample, when the SavedModel is written already
        export(MODELS["vectors"](), tmp_path, "m", sample={"label": np.array([object()])})
    assert list((tmp_path / "m").iterdir()) == []


def test_a_run_is_exported_with_a_sample(run, tmp_path):
    path = export_run(run.folder, tmp_path)
    assert path.parent.name == run.experiment().name
    with np.load(path / "assets.extra" / "sample.npz") as sample:
        np.testing.assert_array_equal(sample["x"], training.load("digits").test.arrays["x"][:64])
    with pytest.raises(ValueError, match="Expected a run's folder"):
        export_run(tmp_path, tmp_path)
