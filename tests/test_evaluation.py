"""The metrics of an evaluation, recomputed by hand from the files of a run."""

import dataclasses

import numpy as np
import pytest
from models import MODELS
from sklearn.decomposition import PCA

import training
import zoo
from training import files, kinds
from training.data.splits import Data, Split
from training.evaluation import arrays as evaluation
from training.evaluation.codes import purity
from zoo.schema import Feature

EXPECTED = {
    "test/squared_error", "test/mse", "test/score", "train/squared_error", "pca/squared_error", "pca/mse",
    "pca/knn_error", "knn/error", "probe/accuracy", "kmeans/purity", "kmeans/ari",
}  # fmt: skip


def test_metrics_and_codes_are_correct(run):
    metrics, model = files.read_json(run.metrics), run.load_model()
    data = training.load("digits", validation=0.1)
    x, train = data.test.arrays["x"], data.train.arrays["x"].reshape(-1, 64)
    assert set(metrics) == EXPECTED
    error = np.square(x - np.asarray(model.reconstruct(x))).reshape(len(x), -1).sum(axis=1).mean()
    assert metrics["test/squared_error"] == pytest.approx(error, rel=1e-5)
    assert metrics["test/mse"] == pytest.approx(error / 64, rel=1e-5)
    flat = x.reshape(-1, 64)
    pca = PCA(8).fit(train)
    theirs = np.square(flat - pca.inverse_transform(pca.transform(flat))).sum(axis=1).mean()
    assert metrics["pca/squared_error"] == pytest.approx(theirs, rel=1e-4)
    with np.load(run.codes, allow_pickle=False) as codes:
        assert set(codes) == {f"{s}_{c}" for s in ("train", "validation", "test") for c in ("codes", "labels", "ids")}
        np.testing.assert_allclose(codes["test_codes"], model.encode(x), atol=1e-5)
        np.testing.assert_array_equal(codes["test_labels"], data.test.arrays["label"])
        distances = np.linalg.norm(codes["test_codes"][:, None] - codes["train_codes"][None], axis=2)
        wrong = codes["train_labels"][distances.argmin(axis=1)] != codes["test_labels"]
        assert metrics["knn/error"] == pytest.approx(wrong.mean(), abs=0.006)  # ties


def test_purity():
    labels, clusters = np.array([0, 0, 0, 1, 1, 2]), np.array([5, 5, 7, 7, 7, 7])
    assert purity(labels, clusters) == pytest.approx(4 / 6)


def test_without_labels_there_are_only_errors(tmp_path, digits, small):
    np.save(tmp_path / "a.npy", digits.reshape(-1, 64))
    run = training.train(small.override({"dataset": f"npy:{tmp_path}/a.npy", "epochs": "1"}), tmp_path / "run")
    metrics = files.read_json(run.metrics)
    assert set(metrics) == {key for key in EXPECTED if key.startswith(("test", "train", "pca")) and "knn" not in key}
    assert {path.stem for path in run.report.parent.glob("*.png")} >= {"codes", "clusters", "samples"}


def test_likelihoods_are_named_by_samples_and_binarization(small):
    experiment = small.override({"bottleneck": "gaussian", "likelihood": "discretized_gaussian", "nll_samples": "30"})
    data = kinds.open_data(experiment)
    model = kinds.build(experiment, data)
    metrics = evaluation.likelihood(model, data, experiment)
    nll = metrics["nll/30_samples_as_is"]
    assert metrics["nll/bits_per_dimension_30_samples_as_is"] == pytest.approx(nll / (64 * np.log(2)))
    x = data.test.arrays["x"]
    outputs = model.predict(x, verbose=0)
    elbo = outputs["kl"].mean() + outputs["reconstruction"].mean()
    assert metrics["negative_elbo/as_is"] == pytest.approx(elbo, rel=1e-4)
    assert nll < elbo
    again = -np.mean(np.asarray(model.log_likelihood(x[:50], np.arange(50), 30)))
    first = dataclasses.replace(data.test, size=50, arrays={"x": x[:50]})
    assert again == pytest.approx(evaluation.nll(model, first, 30), rel=1e-4)


def test_units_that_do_not_vary_are_not_active():
    codes = np.random.default_rng(0).normal(size=(1000, 3)) * [1, 0.05, 0.2]
    assert evaluation.active_units(codes).tolist() == [True, False, True]


def test_the_perplexity_of_a_codebook(digits):
    model = MODELS["vector_quantized"]()
    codes = np.asarray(model.encode(digits))
    index = np.asarray(model.bottleneck.symbols(codes)).ravel()
    shares = np.unique(index, return_counts=True)[1] / len(index)
    metrics = evaluation.codebook(model, codes)
    assert metrics["codebook/perplexity"] == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-5)
    assert metrics["codebook/bits"] == 4 * 4


def test_generated_digits_are_judged_by_the_classifier():
    """With the examples of a preset, because a clone does not have the data set."""
    model, rows = zoo.load("vae_mnist"), zoo.sample("vae_mnist")
    train = Split(
        64, {"x": np.concatenate([rows["x"]] * 2), "label": np.tile(rows["label"], 2), "id": np.arange(64).astype(str)}
    )
    test = Split(32, {"x": rows["x"], "label": rows["label"], "id": np.arange(32).astype(str)})
    schema = {"x": Feature.of((28, 28, 1)), "label": Feature("class", classes=tuple("0123456789"))}
    data = Data("mnist", schema, train, None, test)
    metrics = evaluation.generated(model, None, data, evaluation.encode(model, train)["codes"])
    assert metrics["generate_class/agreement"] > 0.8
    assert set(metrics) >= {"frechet_classifier_mnist/generate", "frechet_classifier_mnist/normal", "copying/generated"}
    assert 0 <= metrics["generate/recall"] <= 1 and metrics["copying/held_out"] == 0  # the test digits are the training ones
