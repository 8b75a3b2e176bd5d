"""Inputs in all forms: the same numbers by every way in, and a clear error for anything else."""

import decimal

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from models import MODELS, NAMES, PREDICTORS

import training
import zoo
from training.fitting.priors import fit_to_codes
from zoo import inputs

DTYPES = ("bool", "uint8", "int8", "uint16", "int64", "float16", "float32", "float64", "longdouble", ">f4")
LEVELS = np.random.default_rng(0).integers(0, 2, (48, 64))
FORMS = {
    "array": lambda x: x,
    "view": lambda x: np.asfortranarray(x),
    "list": lambda x: x.tolist(),
    "list of rows": lambda x: [*x],
    "generator": lambda x: (row for row in x),
    "objects": lambda x: x.astype(object),
    "column of rows": lambda x: pd.Series([*x]),
    "table": lambda x: pd.DataFrame(x),
    "table with truths": lambda x: pd.DataFrame(x).astype({0: bool}),
    "nullable table": lambda x: pd.DataFrame(x).convert_dtypes(),
    "sparse": lambda x: scipy.sparse.csr_matrix(x),
    "decimals": lambda x: [[decimal.Decimal(int(value)) for value in row] for row in x],
}


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return self.x[24 * number : 24 * (number + 1)]


def _as(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Zeros and ones, as 0 and 255 in 8 bits, and the float32 that a model is to see."""
    return (LEVELS * 255 if dtype == "uint8" else LEVELS).astype(dtype), LEVELS.astype("float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return MODELS["vectors"]()


def _fitted(x, **settings) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = MODELS["vectors"]()
    model.compile(keras.optimizers.SGD(1e-3))
    model.fit(x, verbose=0, **settings)
    return np.concatenate([weights.ravel() for weights in model.get_weights()])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_type_means_the_same_by_every_way_in(model, dtype):
    x, expected = _as(dtype)
    for verb in ("encode", "reconstruct", "score", "score_code"):
        np.testing.assert_allclose(getattr(model, verb)(x), getattr(model, verb)(expected), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0)["code"], model.encode(expected), rtol=1e-4, atol=1e-5)
    codes = np.asarray(zoo.pca(expected, 3).encode(expected))
    for pca in (zoo.pca(x, 3), zoo.pca(iter([x[:30], x[30:]]), 3, (64,)), zoo.pca(x.tolist(), 3) if dtype != "uint8" else None):
        if pca is not None:
            np.testing.assert_allclose(pca.encode(expected), codes, atol=1e-3)
    training.fit_prior(model, x)


def test_training_sees_8_bits_as_the_verbs_do():
    x, scaled = _as("uint8")
    expected = _fitted(scaled, shuffle=False, batch_size=24)
    batches = lambda: (x[i : i + 24] for i in (0, 24))  # noqa: E731
    ways = {
        "array": (x, {"shuffle": False, "batch_size": 24}),
        "data set": (tf.data.Dataset.from_tensor_slices(x).batch(24), {}),
        "PyDataset": (Batches(x), {}),
        "generator of batches": (batches(), {}),
        "generator of rows": ((row for row in x), {"shuffle": False, "batch_size": 24}),
        "list": ([*x], {"shuffle": False, "batch_size": 24}),
    }
    for name, (data, settings) in ways.items():
        np.testing.assert_allclose(_fitted(data, **settings), expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_sequences_of_every_form_are_rows(model, form):
    x = LEVELS[:5].astype("float64")
    np.testing.assert_allclose(model.encode(FORMS[form](x)), model.encode(x), atol=1e-6)
    assert inputs.labels(FORMS[form](x[:, :1].astype(int)), 2).tolist() == LEVELS[:5, 0].tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "Expected numbers. Received: None"),
        ("text", "Expected numbers. Received: 'text'"),
        ({"x": 1}, "Expected numbers"),
        ({1.0}, "Expected numbers"),
        ([["a"] * 64], "Expected numbers. Received: 'a' in row 0"),
        ([[1.0] * 64, [None] * 64], "Received: None in row 1"),
        ([[1.0] * 64, [1.0]], r"Received: \(64,\) in row 0, \(1,\) in row 1"),
        (np.ones((2, 64)) * 1j, "Expected numbers"),
        (np.ma.array(np.ones((2, 64)), mask=[[0] * 64, [1] * 64]), "masked values in row 1"),
        (pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1, 2]}), "Received: <NA> in row 1"),
        (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "Expected numbers"),
        (np.zeros(64), r"Try x\[None\]"),
        (5, r"Expected shape \('batch', 64\)"),
        (tf.data.Dataset.range(3), "Expected numbers"),
    ],
)
def test_values_that_are_not_rows_are_refused(model, values, message):
    with pytest.raises(ValueError, match=message):
        model.encode(values)


@pytest.mark.parametrize("name", [*NAMES, *PREDICTORS])
def test_no_rows_get_an_empty_answer(name):
    model = {**MODELS, **PREDICTORS}[name]()
    for verb, signature in model.signatures().items():
        (declared,) = signature.outputs.values()
        for none in (lambda tensor: [], lambda tensor: np.zeros((0, *tensor.shape[1:]), tensor.dtype)):
            answer = np.asarray(getattr(model, verb)(*map(none, signature.inputs.values())))
            assert (answer.shape, answer.dtype) == ((0, *declared.shape[1:]), declared.dtype)


def test_training_without_rows_is_refused(model):
    for none in (np.zeros((0, 64)), [], iter([]), tf.data.Dataset.from_tensor_slices(np.zeros((0, 64))).batch(3)):
        with pytest.raises(ValueError, match="at least one row"):
            model.fit(none)
    with pytest.raises(ValueError, match="at least one row"):
        training.fit_prior(model, [])
    with pytest.raises(ValueError, match="at least one row"):
        PREDICTORS["classifier"]().fit(np.zeros((0, 8, 8, 1)), [])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b"] * 5, "Expected numbers. Received: 'a' in row 0"),
        (np.arange(1, 11), r"labels in \[0, 10\). Received: 10 in row 9. Try"),
        ([0] * 9 + [-1], "Received: -1 in row 9"),
        ([0] * 9 + [2.5], "Received: 2.5 in row 9"),
        ([0.0] * 9 + [np.nan], "Received: nan in row 9"),
        ([0] * 9, "a label for each of 10 rows"),
        (np.eye(10), "argmax"),
        (None, "Expected (labels|numbers)"),
    ],
)
def test_labels_are_checked_before_anything_changes(digits, labels, message):
    autoencoder, classifier = MODELS["vae"](), PREDICTORS["classifier"]()
    before = [autoencoder.get_weights(), classifier.get_weights()]
    with pytest.raises(ValueError, match=message):
        training.fit_prior(autoencoder, digits[:10], labels)
    for settings in ({"y": labels}, {"y": np.arange(10), "validation_data": (digits[:10], labels)}):
        with pytest.raises(ValueError, match=message):
            classifier.fit(digits[:10], verbose=0, **settings)
    for model, weights in zip((autoencoder, classifier), before, strict=True):
        assert all(map(np.array_equal, model.get_weights(), weights))


def test_a_class_of_one_row_keeps_its_share_and_an_empty_one_is_refused():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 60 + [1] * 39 + [2])
    codes = 10.0 * labels[:, None] + rng.normal(size=(100, 2))
    model = zoo.dense_autoencoder((8,), 2, (4,), prior=zoo.Mixture(2, classes=5))
    fit_to_codes(model, codes, labels)
    np.testing.assert_allclose(np.asarray(model.prior.proportions).sum(axis=1), [0.6, 0.39, 0.01, 0, 0], atol=1e-6)
    drawn = np.asarray(model.prior(np.arange(4000, dtype="int32"), np.full(4000, 2)))
    np.testing.assert_allclose(drawn.mean(axis=0), codes[-1], atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), 1, atol=0.15)  # as wide as the other classes
    assert model.prior.fitted.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"Received: 4 in row 1\. Try one of 0, 1, 2"):
        model.generate_class([0, 4], [1, 2])
    shares = np.bincount(np.round(np.asarray(model.prior(np.arange(4000, dtype="int32"))).mean(axis=1) / 10).astype(int))
    np.testing.assert_allclose(shares / 4000, [0.6, 0.39, 0.01], atol=0.03)


def test_integers_and_priors_are_checked_by_row(model):
    with pytest.raises(ValueError, match="Received: 4294967296 in row 1"):
        model.generate([1, 2**32])
    with pytest.raises(ValueError, match="Expected integers"):
        model.generate([1.5])
    with pytest.raises(ValueError, match=r"one seed for each row, \(batch,\)"):
        model.generate(5)
    with pytest.raises(ValueError, match="Expected a prior with classes"):
        model.generate_class([0], [0])
    with pytest.raises(ValueError, match="Expected a bottleneck that draws codes for vary"):
        model.vary(LEVELS[:1], [0])


def test_texts_of_every_form_are_texts():
    model = zoo.load("g2p_cmudict")
    expected = model.score(["cat", "dog"], ["K AE1 T", "D AO1 G"])
    for form in (np.array, pd.Series, iter, tuple, lambda texts: np.array(texts, object)):
        np.testing.assert_allclose(model.score(form(["cat", "dog"]), form(["K AE1 T", "D AO1 G"])), expected, rtol=1e-5)
    for bad, message in (
        ("cat", r"Try \['cat'\]"),
        (["cat", None], "None in row 1"),
        ([b"cat"], "decoding"),
        ([["cat"]], "row 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.generate(bad)
    with pytest.raises(ValueError, match="Received: '' in row 1"):
        model.generate(["cat", ""])
    for verb, signature in model.signatures().items():
        answer = getattr(model, verb)(*([] for _ in signature.inputs))
        answers = answer if isinstance(answer, dict) else dict.fromkeys(signature.outputs, answer)
        assert {name: np.shape(answers[name]) for name in answers} == {
            name: (0, *tensor.shape[1:]) for name, tensor in signature.outputs.items()
        }
