"""What every model of the zoo guarantees, on any Keras backend (`test_backends.py` runs this file on JAX too)."""

import keras
import numpy as np
import pytest
from models import MODELS, NAMES

SEEDS = np.array([0, 1, -7, 2**31 - 1], dtype="int32")


@pytest.fixture(params=NAMES, scope="module")
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name):
    keras.utils.set_random_seed(0)
    return MODELS[name]()


@pytest.fixture(scope="module")
def x(digits, model) -> np.ndarray:
    return digits.reshape(-1, *model.shape)


def _answers(model, x) -> dict[str, np.ndarray]:
    code = np.random.default_rng(0).normal(size=(4, model.k)).astype("float32")
    values = {"x": x[:4], "code": code, "seed": SEEDS, "label": np.arange(4)}
    return {
        verb: np.asarray(getattr(model, verb)(*(values[name] for name in signature.inputs)))
        for verb, signature in model.signatures().items()
    }


def test_answers_have_the_declared_shapes_and_types(model, x):
    signatures, answers = model.signatures(), _answers(model, x)
    assert {"encode", "decode", "reconstruct", "generate", "score", "score_code"} <= set(signatures)
    assert ("vary" in signatures) == model.bottleneck.drawn
    assert ("generate_class" in signatures) == bool(model.prior.classes)
    for verb, answer in answers.items():
        (declared,) = signatures[verb].outputs.values()
        assert answer.shape == (4, *declared.shape[1:])
        assert answer.dtype == declared.dtype
        assert np.isfinite(answer).all()


def test_config_round_trip(name, model, x):
    rebuilt = type(model).from_config(model.get_config())
    assert rebuilt.get_config() == model.get_config()
    assert [v.shape for v in rebuilt.variables] == [v.shape for v in model.variables]
    rebuilt.set_weights(model.get_weights())
    _assert_equal(_answers(rebuilt, x), _answers(model, x))


def test_save_and_load(model, x, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    _assert_equal(_answers(loaded, x), _answers(model, x))


def test_verbs_agree_with_each_other(model, x):
    outputs = model(x[:4])
    np.testing.assert_allclose(model.decode(model.encode(x[:4])), model.reconstruct(x[:4]), atol=1e-6)
    np.testing.assert_allclose(outputs["code"], model.encode(x[:4]), atol=1e-6)
    if not model.bottleneck.drawn:  # otherwise x is averaged over codes drawn from the posterior
        np.testing.assert_allclose(outputs["x"], model.reconstruct(x[:4]), atol=1e-5)
    np.testing.assert_allclose(outputs["score"], model.score(x[:4]), rtol=1e-5)


def test_a_row_is_answered_alone_as_among_others(model, x):
    np.testing.assert_allclose(model.score(x[:4]), np.concatenate([model.score(x[i : i + 1]) for i in range(4)]), rtol=1e-4)


def test_8_bit_integers_are_scaled(model, x):
    levels = np.round(255 * x[:4]).astype("uint8")
    for verb in ("encode", "reconstruct", "score"):
        expected = getattr(model, verb)(levels.astype("float32") / 255)
        np.testing.assert_allclose(getattr(model, verb)(levels), expected, rtol=1e-5, atol=1e-5)


def test_generate_depends_on_the_seed_alone(model):
    together = np.asarray(model.generate(SEEDS))
    alone = np.concatenate([np.asarray(model.generate(SEEDS[i : i + 1])) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-4


@pytest.mark.parametrize("shape", [(8, 8), (3, 7, 8, 1), (64, 2, 2)])
def test_wrong_shapes_are_refused(model, shape):
    with pytest.raises(ValueError, match=r"Expected shape \('batch'"):
        model.encode(np.zeros(shape, "float32"))


def test_loss_falls_on_inputs_alone(name, x):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    history = model.fit(x[:512], epochs=3, batch_size=64, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["squared_error"][-1] < history["squared_error"][0]
    evaluated = model.evaluate(x[:256], verbose=0, return_dict=True)
    np.testing.assert_allclose(evaluated["loss"], -np.mean(model.score(x[:256])), rtol=1e-4)
    if model.bottleneck.drawn:
        assert evaluated["kl"] > 0
        assert {"kl", "reconstruction", "squared_error", "loss"} == set(history)
    else:
        error = np.square(x[:256] - np.asarray(model.reconstruct(x[:256]))).reshape(256, -1).sum(axis=1)
        np.testing.assert_allclose(evaluated["squared_error"], error.mean(), rtol=1e-4)


def _assert_equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    for verb in left:
        np.testing.assert_allclose(left[verb], right[verb], atol=1e-6, err_msg=verb)
