"""The figures of an evaluation, recomputed by hand from what a run wrote."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

import training
from training import evaluation, files

EXPECTED = {
    "test/squared_error", "test/mse", "test/score", "train/squared_error", "pca/squared_error", "pca/mse",
    "pca/knn_error", "knn/error", "probe/accuracy", "kmeans/purity", "kmeans/ari",
}  # fmt: skip


def test_metrics_and_codes_are_what_they_say(run):
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
    assert evaluation.purity(labels, clusters) == pytest.approx(4 / 6)


def test_without_labels_there_are_only_errors(tmp_path, digits, small):
    np.save(tmp_path / "a.npy", digits.reshape(-1, 64))
    run = training.train(small.override({"dataset": f"npy:{tmp_path}/a.npy", "epochs": "1"}), tmp_path / "run")
    metrics = files.read_json(run.metrics)
    assert set(metrics) == {key for key in EXPECTED if key.startswith(("test", "train", "pca")) and "knn" not in key}
    assert {path.stem for path in run.report.parent.glob("*.png")} >= {"codes", "clusters", "samples"}
