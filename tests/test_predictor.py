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


def test_error_falls_and_the_model_is_saved_whole(name, digits, targets, tmp_path):
    keras.utils.set_random_seed(0)
    model = PREDICTORS[name]()
    history = model.fit(digits, targets, epochs=4, verbose=0).history
    assert history["error"][-1] < history["error"][0]
    model.save(tmp_path / "model.keras")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), zoo.load(zoo.save_preset(model, tmp_path / "preset"))):
        np.testing.assert_allclose(again(digits[:9]), model(digits[:9]), atol=1e-6)
        assert again.signatures() == model.signatures()


def test_probabilities_and_the_reported_error_are_what_they_say(digits):
    model = PREDICTORS["classifier"]()
    probability = np.asarray(model.classify(digits))
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    labels = load_digits().target
    model.compile("sgd")
    error = model.evaluate(digits, labels, verbose=0, return_dict=True)["error"]
    assert error == pytest.approx(np.mean(probability.argmax(axis=1) != labels), abs=1e-6)


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
