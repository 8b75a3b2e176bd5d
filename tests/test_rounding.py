"""Codes of whole numbers: their learned distribution, the rate in training, and what lossy files hold of them."""

import json

import keras
import numpy as np
import pytest
from scipy import stats

import training
import zoo
from serving.__main__ import main
from training.fitting.entropy import fit_histograms, whole_shares
from zoo.coding.rounded import ZERO, Rounded
from zoo.entropy import TOTAL

SHAPE = (8, 8, 1)


def _model(bottleneck: zoo.Bottleneck, x: np.ndarray, epochs: int = 12, **parts) -> zoo.Autoencoder:
    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(zoo.dense((48,), shape=SHAPE), bottleneck, zoo.dense((48,)), zoo.SquaredError("sigmoid"), **parts)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(x[:1500], epochs=epochs, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def model(digits) -> zoo.Autoencoder:
    model = _model(zoo.Rounded(8, rate=0.02), digits)
    training.fit_entropy(model, digits[:1500])
    return model


def test_whole_numbers_have_the_probabilities_of_a_mixture_of_logistic_distributions():
    bottleneck = zoo.Rounded(2, logistics=2)
    bottleneck.build((None, 3))
    bottleneck.logits.assign([[0.0, 1.0], [2.0, -1.0]])
    bottleneck.locations.assign([[-1.3, 2.0], [0.2, 5.0]])
    bottleneck.scales.assign([[0.0, 1.0], [-3.0, 2.0]])
    weights = np.exp(bottleneck.logits) / np.exp(bottleneck.logits).sum(axis=1, keepdims=True)
    scales = 0.05 + np.log1p(np.exp(bottleneck.scales))
    numbers = np.arange(-60, 61)
    cdf = stats.logistic(np.asarray(bottleneck.locations), scales).cdf
    mass = (weights * (cdf(numbers[:, None, None] + 0.5) - cdf(numbers[:, None, None] - 0.5))).sum(axis=-1)  # (n, 2)
    np.testing.assert_allclose(mass.sum(axis=0), 1.0, atol=1e-6)
    codes = np.stack([numbers, numbers], axis=1).astype("float32")
    likely = mass.min(axis=1) > 1e-5  # elsewhere, SciPy's differences are of nearly equal numbers
    np.testing.assert_allclose(np.asarray(bottleneck.bits(codes))[likely], -np.log2(mass[likely]).sum(axis=1), rtol=1e-3)


def test_the_rate_buys_errors_with_bits(model, digits):
    cheap = _model(zoo.Rounded(8, rate=0.5), digits)
    codes = [np.asarray(each.encode(digits)) for each in (model, cheap)]
    assert all(np.array_equal(each, np.round(each)) for each in codes)
    bits = [float(np.mean(each.bottleneck.bits(code))) for each, code in zip((model, cheap), codes, strict=True)]
    error = [np.square(digits - np.asarray(each.reconstruct(digits))).sum(axis=(1, 2, 3)).mean() for each in (model, cheap)]
    assert bits[1] < 0.7 * bits[0] and error[1] > 1.1 * error[0]


def test_a_code_costs_its_bits(model, digits):
    codes, cost = model.bottleneck(model.encoder(digits[:5]))
    np.testing.assert_allclose(cost[0], np.log(2) * np.asarray(model.bottleneck.bits(codes[0])), rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 65)])
def test_frequencies_are_whole_and_sum_to_the_total(shape):
    weights = np.random.default_rng(0).gamma(0.05, size=shape) + 1e-9
    numbers = whole_shares(weights)
    assert (numbers.sum(axis=-1) == TOTAL).all() and numbers.min() >= 1
    np.testing.assert_allclose(numbers / TOTAL, weights / weights.sum(axis=-1, keepdims=True), atol=66 / TOTAL)


def test_clusters_save_bits_where_rows_are_of_kinds():
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 3_000)
    numbers = np.rint(random.normal(20.0 * (kind[:, None] == np.arange(3)), 1.0, (3_000, 3))).astype("int64")
    bits = []
    for clusters in (1, 3):
        histograms = zoo.Histograms(64, clusters)
        histograms.build((None, 3))
        fit_histograms(histograms, numbers[:2_000], np.ones(3))
        bits.append(histograms.bits(numbers[2_000:]).mean())
    entropy = 3 * 2.05 + np.log2(3)  # of normal distributions, discretized, and of the kinds
    assert bits[1] == pytest.approx(entropy, rel=0.05) and bits[1] < 0.9 * bits[0]


def test_a_lossy_file_holds_the_rounded_codes_in_as_many_bits_as_the_histograms_say(model, digits):
    x = digits[1500:]
    file = zoo.compress(model, x, lossy=True)
    again = zoo.decompress(file, model)
    np.testing.assert_allclose(again, model.reconstruct(x), atol=1e-5)
    mode = Rounded(model, {"dtype": "float32"})
    numbers = mode.integers(x)
    payload = mode.encode(numbers)
    assert 8 * len(payload) == pytest.approx(mode.bits(numbers).sum(), rel=0.01, abs=64)
    assert len(file) < 400 + len(payload)
    assert 8 * len(payload) / len(x) < float(np.mean(model.bottleneck.bits(model.encode(x)))) + 2
    assert np.array_equal(zoo.decompress(file, model, rows=range(100, 110)), again[100:110])


def test_numbers_outside_the_histograms_come_back(model):
    mode, random = Rounded(model, {"dtype": "float32"}), np.random.default_rng(0)
    numbers = ZERO + np.rint(random.standard_cauchy((300, 8)) * 50).astype("int64")
    numbers[0, :2] = ZERO + 2**28, ZERO - 2**28
    payload = mode.encode(numbers)
    assert np.array_equal(mode.decode(payload, 300), numbers)
    assert 8 * len(payload) == pytest.approx(mode.bits(numbers).sum(), rel=0.01)
    for rows in (0, 1):
        assert np.array_equal(mode.decode(mode.encode(numbers[:rows]), rows), numbers[:rows])


@pytest.mark.parametrize("bottleneck", [zoo.Deterministic(6), zoo.VectorQuantized(6, 16, 2)], ids=["numbers", "entries"])
def test_codes_of_any_model_can_be_rounded(bottleneck, digits):
    model = _model(bottleneck, digits, 3)
    if not model.bottleneck.discrete:
        with pytest.raises(ValueError, match=r"Expected a model with histograms.*Try --entropy=histograms"):
            zoo.compress(model, digits, lossy=True)
    training.fit_entropy(model, digits[:1500])
    x = np.rint(255 * digits[1500:]).astype("uint8")
    again = zoo.decompress(zoo.compress(model, x, lossy=True), model)
    assert again.dtype == "uint8"
    error, least = (
        np.square((x - each) / 255).sum(axis=(1, 2, 3)).mean() for each in (again.astype("float32"), _best(model, x))
    )
    assert least - 0.01 < error < 1.3 * least


def test_entries_are_coded_by_the_prior_where_there_are_no_histograms(digits):
    model = _model(zoo.VectorQuantized(6, 16, 2), digits, 3, prior=zoo.Autoregressive(16, 1, 2, epochs=4))
    before = len(zoo.compress(model, digits[:300], lossy=True))
    training.fit_prior(model, digits[:1500])
    file = zoo.compress(model, digits[:300], lossy=True)
    np.testing.assert_allclose(zoo.decompress(file, model), model.reconstruct(digits[:300]), atol=1e-5)
    assert len(file) < before and zoo.decompress(zoo.compress(model, digits[:0], lossy=True), model).shape[0] == 0


def _best(model, x) -> np.ndarray:
    return 255 * np.asarray(model.reconstruct(x))


def test_lossy_on_the_command_line(model, digits, tmp_path, capsys):
    zoo.save_preset(model, tmp_path / "mine", "float16")
    np.save(tmp_path / "x.npy", digits[:50])
    paths = [str(tmp_path / name) for name in ("mine", "x.npy", "x.laz", "again.npy")]
    assert main(["compress", *paths[:3], "--lossy"]) == 0
    assert "dB" in capsys.readouterr().out
    assert main(["decompress", *paths[2:], f"--model={paths[0]}"]) == 0
    error = np.square(np.load(paths[3]) - digits[:50]).sum(axis=(1, 2, 3)).mean()
    assert error < 2.5
    assert main(["decompress", paths[2], str(tmp_path / "other.npy"), "--model=dense_mnist_k30"]) != 0
    assert "Expected the model that the file was written with" in capsys.readouterr().err


def test_a_run_measures_what_lossy_compression_comes_to(small, tmp_path):
    experiment = small.override(bottleneck="rounded", rate=0.05, entropy="histograms", epochs=2)
    run = training.train(experiment, tmp_path / "run", report=False)
    metrics = json.loads(run.metrics.read_text())
    model = run.load_model()
    assert metrics["lossy/bits"] == pytest.approx(64 * metrics["lossy/bits_per_value"])
    assert metrics["lossy/squared_error"] == pytest.approx(metrics["test/squared_error"], rel=1e-3)
    assert metrics["lossy/psnr"] == pytest.approx(-10 * np.log10(metrics["lossy/squared_error"] / 64))
    assert model.entropy.fitted


def test_tables_are_not_compressed_with_loss():
    model = zoo.load("penguins_mixed_k2")
    with pytest.raises(ValueError, match=r"Expected a model with histograms"):
        zoo.compress(model, [{}], lossy=True)
    with pytest.raises(ValueError, match=r"Expected a model of arrays.*Try compress without --lossy"):
        training.fit_entropy(model, [{}])
