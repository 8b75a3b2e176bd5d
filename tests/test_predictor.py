"""An encoder with a head: what both predictors keep, and that pretraining helps where labels are few."""

import keras
import numpy as np
import pytest
from models import MODELS, PREDICTORS
from sklearn.datasets import load_digits

import zoo

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(params=PREDICTORS)
def name(request) -> str:
    return request.param


@pytest.fixture
def targets(name) -> np.ndarray:
    labels = load_digits().target
    return labels.astype("int32") if name == "classifier" else labels.astype("float32") / 10


def test_answers_have_the_declared_shapes_and_types(name, digits):
    model = PREDICTORS[name]()
    for verb, signature in model.signatures().items():
        answer = np.asarray(getattr(model, verb)(digits[:4]))
        (declared,) = signature.outputs.values()
        assert answer.shape == (4, *declared.shape[1:])
        assert answer.dtype == declared.dtype
    with pytest.raises(ValueError, match="Expected shape"):
        model.encode(digits[0])


def test_error_falls_and_the_model_is_saved_completely(name, digits, targets, tmp_path):
    keras.utils.set_random_seed(0)
    model = PREDICTORS[name]()
    history = model.fit(digits, targets, epochs=4, verbose=0).history
    assert history["error"][-1] < history["error"][0]
    model.save(tmp_path / "model.keras")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), zoo.load(zoo.save_preset(model, tmp_path / "preset"))):
        np.testing.assert_allclose(again(digits[:9]), model(digits[:9]), atol=1e-6)
        assert again.signatures() == model.signatures()


def test_probabilities_and_the_reported_error_are_correct(digits):
    model = PREDICTORS["classifier"]()
    probability = np.asarray(model.classify(digits))
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    labels = load_digits().target
    model.compile("sgd")
    error = model.evaluate(digits, labels, verbose=0, return_dict=True)["error"]
    assert error == pytest.approx(np.mean(probability.argmax(axis=1) != labels), abs=1e-6)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_every_row_counts_by_its_weight(name, shape, digits, targets):
    """Loss and error against NumPy; targets and weights with and without an axis of their own."""
    model, x, y = PREDICTORS[name](), digits[:40], targets[:40]
    weights = np.random.default_rng(0).random(40).astype("float32") * (np.arange(40) < 20)
    answer = np.asarray(model(x, training=False)).astype("float64")
    if name == "classifier":
        losses = np.log(np.exp(answer).sum(axis=1)) - answer[np.arange(40), y]
        errors = answer.argmax(axis=1) != y
    else:
        losses = errors = np.square(answer[:, 0] - y)
    model.compile("sgd")
    for weight in (None, weights):
        each = np.ones(40) if weight is None else weight
        given = None if weight is None else weight.reshape(shape)
        seen = model.evaluate(x, y.reshape(shape), batch_size=40, sample_weight=given, verbose=0, return_dict=True)
        assert seen["loss"] == pytest.approx(np.mean(each * losses), rel=1e-4)
        assert seen["error"] == pytest.approx(np.sum(each * errors) / each.sum(), rel=1e-4)


def test_a_row_of_weight_zero_teaches_nothing(name, digits, targets):
    trained = []
    for spoilt in (0.0, 7.0):
        keras.utils.set_random_seed(0)
        model = PREDICTORS[name]()
        model.compile(keras.optimizers.SGD(0.01))
        y = targets[:32] + (np.arange(32) >= 16).astype(targets.dtype) * targets.dtype.type(spoilt)
        y = y % 10 if name == "classifier" else y
        model.fit(digits[:32], y, sample_weight=(np.arange(32) < 16).astype("float32"), shuffle=False, verbose=0)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_weights_of_classes_are_those_of_their_rows(digits):
    labels = load_digits().target[:64].astype("int32")
    trained = []
    for options in ({"class_weight": {c: 1.0 + c for c in range(10)}}, {"sample_weight": 1.0 + labels.astype("float32")}):
        keras.utils.set_random_seed(0)
        model = PREDICTORS["classifier"]()
        model.compile(keras.optimizers.SGD(0.01))
        model.fit(digits[:64], labels[:, None], shuffle=False, verbose=0, **options)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_targets_of_several_numbers_are_refused(digits):
    with pytest.raises(ValueError, match=r"Expected .*target.* of shape"):
        PREDICTORS["regressor"]().fit(digits[:8], np.zeros((8, 2), "float32"), verbose=0)


def test_a_frozen_encoder_stays_and_the_autoencoder_shares_its_weights(digits):
    autoencoder = MODELS["dense"]()
    for frozen in (True, False):
        before = np.asarray(autoencoder.encode(digits[:5]))
        model = zoo.Predictor(zoo.coder(autoencoder), keras.Sequential([keras.layers.Dense(10)]), LOSS, frozen)
        model.fit(digits[:200], load_digits().target[:200], verbose=0)
        np.testing.assert_allclose(model.encode(digits[:5]), autoencoder.encode(digits[:5]), atol=1e-6)
        assert np.allclose(autoencoder.encode(digits[:5]), before, atol=1e-6) == frozen


@pytest.mark.parametrize("loss", ["mse", keras.losses.SparseCategoricalCrossentropy(), keras.losses.BinaryCrossentropy()])
def test_losses_that_do_not_fit_are_refused(loss):
    with pytest.raises(ValueError, match="Expected a loss object"):
        zoo.Predictor(zoo.linear((8,)), keras.Sequential([keras.layers.Dense(2)]), loss)
