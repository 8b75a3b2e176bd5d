"""Priors over codes: draws and the probabilities that a coder needs are those of log p."""

import io
import zipfile

import h5py
import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

import training
import zoo
from training.fitting.autoregressive import fit_autoregressive
from training.fitting.priors import fit_to_codes

SEEDS = np.arange(20_000, dtype="int32")


def test_before_it_is_fitted_it_is_a_standard_normal():
    mixture = zoo.Mixture(3)
    mixture.build((None, 4))
    codes = np.asarray(mixture(SEEDS))
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(4), atol=0.06)


def test_draws_have_the_moments_of_the_codes_that_it_was_fitted_to():
    rng = np.random.default_rng(0)
    left = rng.multivariate_normal([-4, 0], [[1.0, 0.8], [0.8, 1.0]], 3000)
    right = rng.multivariate_normal([6, 3], [[0.3, -0.1], [-0.1, 0.2]], 1000)
    codes = np.concatenate([left, right]).astype("float32")
    model = zoo.dense_autoencoder((8,), 2, (4,), prior=zoo.Mixture(2))
    fit_to_codes(model, codes)
    drawn = np.asarray(model.prior(SEEDS))
    assert np.mean(drawn[:, 0] > 2) == np.clip(np.mean(drawn[:, 0] > 2), 0.23, 0.27)  # a quarter is on the right
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), rtol=0.05)


def test_log_prob_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(size=(400, 3)), 5 + 0.3 * rng.normal(size=(200, 3))])
    mixture = GaussianMixture(2, random_state=0).fit(codes)
    ours = zoo.Mixture(2)
    ours.build((None, 3))
    ours.assign(mixture.weights_, mixture.means_, mixture.covariances_)
    np.testing.assert_allclose(ours.log_prob(codes[:50].astype("float32")), mixture.score_samples(codes[:50]), rtol=1e-3)


def test_the_bound_rises_when_the_prior_is_fitted(digits):
    """Also where dimensions have collapsed, whose means vary less than the codes that are drawn."""
    keras.utils.set_random_seed(0)
    bottleneck = zoo.Gaussian(6, seed=0)
    model = zoo.Autoencoder(zoo.dense((32,), shape=(8, 8, 1)), bottleneck, zoo.dense((32,)), zoo.Bernoulli(), zoo.Mixture(4))
    model.fit(digits, epochs=8, batch_size=64, verbose=0)
    before = np.mean(model.score(digits))
    training.fit_prior(model, digits)
    assert before < np.mean(model.score(digits)) < before + 10


@pytest.fixture(scope="module")
def quantized(digits) -> zoo.Autoencoder:
    """A vector-quantized model of digits, with a prior that is fitted."""
    keras.utils.set_random_seed(0)
    body = zoo.dense((32,), shape=(8, 8, 1))
    prior = zoo.Autoregressive(16, 1, 2, dropout=0.0, epochs=12, classes=10, seed=0)
    model = zoo.Autoencoder(body, zoo.VectorQuantized(4, 16, 2, seed=0), zoo.dense((32,)), zoo.SquaredError("sigmoid"), prior)
    model.fit(digits[:512], epochs=3, batch_size=64, verbose=0)
    scores = np.asarray(model.score_code(digits[:512]))
    np.testing.assert_allclose(scores, -4 * np.log(16), rtol=1e-5)  # uniform until it is fitted
    training.fit_prior(model, digits[:512], load_digits().target[:512])
    assert scores.mean() + 0.5 < np.asarray(model.score_code(digits[:512])).mean()
    return model


def test_draws_of_entries_are_distributed_as_the_prior_says(quantized):
    drawn = np.asarray(quantized.prior(SEEDS[:4000]))  # (4000, 4)
    first = quantized.prior.conditional(drawn[:1, :0])[0]
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=16) / 4000, first, atol=0.03)
    likeliest = drawn[:, 0] == np.argmax(first)
    second = quantized.prior.conditional(drawn[likeliest][:1, :1])[0]
    np.testing.assert_allclose(np.bincount(drawn[likeliest, 1], minlength=16) / likeliest.sum(), second, atol=0.08)
    np.testing.assert_array_equal(quantized.prior(SEEDS[7:8])[0], drawn[7])


def test_probabilities_of_entries_are_those_of_log_p(quantized, digits):
    codes = np.asarray(quantized.bottleneck.symbols(quantized.encode(digits[:30])))
    total, steps = 0.0, []
    for j in range(4):
        cells = quantized.prior.conditional(codes[:, :j])
        np.testing.assert_allclose(cells.sum(axis=1), 1.0, rtol=1e-12)
        total += np.log(cells[np.arange(30), codes[:, j]])
        steps.append(cells)
    np.testing.assert_allclose(total, quantized.score_code(digits[:30]), atol=1e-4)
    np.testing.assert_array_equal(quantized.prior.conditional(codes[:, :2]), steps[2])  # the same to the bit, out of turn
    score = -np.square(digits[:30] - np.asarray(quantized.reconstruct(digits[:30]))).sum(axis=(1, 2, 3)) + total
    np.testing.assert_allclose(quantized.score(digits[:30]), score - 32 * np.log(np.pi), rtol=1e-4)


def test_entries_of_a_class_are_drawn_from_it():
    """The entries of class 0 are below 4, those of class 1 are not, and class 2 has no rows."""
    prior = zoo.Autoregressive(16, 1, 2, dropout=0.0, epochs=40, classes=3, seed=0)
    prior.build((None, 2, 8))
    labels = np.arange(512) % 2
    fit_autoregressive(prior, np.random.default_rng(0).integers(0, 4, (512, 2)) + 4 * labels[:, None], labels)
    drawn = np.asarray(prior(SEEDS[:400], labels[:400].astype("int32")))
    assert np.mean((drawn >= 4) == labels[:400, None]) > 0.9
    both = np.asarray(prior(SEEDS[:400])) >= 4
    assert 0.3 < both.mean() < 0.7 and np.mean(both[:, 0] == both[:, 1]) > 0.8
    assert prior.fitted.tolist() == [0, 1]
    with pytest.raises(ValueError, match="Received: 2 in row 1"):
        prior.known([0, 2])


def test_priors_that_do_not_fit_the_codes_are_refused():
    bodies = zoo.dense((4,), shape=(8, 8, 1)), zoo.dense((4,))
    for bottleneck, prior, better in (
        (zoo.VectorQuantized(2, 4, 2), zoo.Mixture(), "Autoregressive"),
        (zoo.Gaussian(2), zoo.Autoregressive(), "Mixture"),
    ):
        with pytest.raises(ValueError, match=rf"Expected a prior over .*Try prior=zoo\.{better}"):
            zoo.Autoencoder(bodies[0], bottleneck, bodies[1], zoo.Bernoulli(), prior)


def test_models_that_were_saved_with_a_density_are_read(tmp_path, digits):
    model = zoo.dense_autoencoder((8, 8, 1), 2, (4,))
    training.fit_prior(model, digits[:100])
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name).replace(b'"prior"', b'"density"')
            if name == "model.weights.h5":
                held = io.BytesIO(content)
                with h5py.File(held, "r+") as groups:
                    groups.move("layers/mixture", "density")
                content = held.getvalue()
            old.writestr(name, content)
    loaded = zoo.presets.load_saved(tmp_path / "old.keras", "training again")
    np.testing.assert_allclose(loaded.generate([1, 2]), model.generate([1, 2]), rtol=1e-5)


def test_each_class_has_a_mixture_of_its_own():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 600, 100])
    codes = (10.0 * labels[:, None] + rng.normal(size=(1000, 2))).astype("float32")
    model = zoo.dense_autoencoder((8,), 2, (4,), prior=zoo.Mixture(2, classes=3))
    with pytest.raises(ValueError, match="Expected labels"):
        fit_to_codes(model, codes)
    fit_to_codes(model, codes, labels)
    for label in (0, 1, 2):
        drawn = np.asarray(model.prior(SEEDS[:2000], np.full(2000, label)))
        np.testing.assert_allclose(drawn.mean(axis=0), 10 * label, atol=0.3)
    nearest = np.round(np.asarray(model.prior(SEEDS)).mean(axis=1) / 10)
    np.testing.assert_allclose(np.bincount(nearest.astype(int)) / len(SEEDS), [0.3, 0.6, 0.1], atol=0.02)


def test_few_rows_get_few_components():
    model = zoo.dense_autoencoder((32,), 6, (4,), prior=zoo.Mixture(10))
    fit_to_codes(model, np.random.default_rng(0).normal(size=(75, 6)))
    assert np.count_nonzero(np.asarray(model.prior.proportions)) == 2
    assert np.isfinite(np.asarray(model.generate(SEEDS[:100]))).all()


def test_a_model_fitted_in_python_gets_its_prior(digits):
    model = zoo.pca(digits, 4)
    training.fit_prior(model, digits)
    drawn = np.asarray(model.prior(SEEDS))
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(np.asarray(model.encode(digits)).T), rtol=0.2, atol=0.1)
