"""Runs: their files, and that a killed run ends like an undisturbed one."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from conftest import ROOT, is_progress
from resuming import assert_two_parts_are_one_whole
from sklearn.datasets import load_digits
from test_backends import QUICKLY

import training
import zoo
from training import cards, files, kinds
from training.data import arrays
from training.data.splits import pipeline_errors
from training.evaluation import arrays as evaluation
from training.fitting import loop, strategies
from training.fitting.callbacks import Checkpoint
from training.fitting.priors import fit_to_codes
from training.run import Run

TRAIN = [sys.executable, "-m", "training", "train", "dense_digits_k8", "--report=false"]
train = functools.partial(training.train, report=False)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_run_leaves_everything(run):
    for path in (run.config, run.versions, run.checkpoint, run.model, run.history, run.metrics, run.codes, run.report):
        assert path.stat().st_size > 0, path
    assert list(run.tensorboard.rglob("events.out.tfevents.*"))
    assert (run.export / "dense_digits_k8" / "1" / "saved_model.pb").exists()
    assert not list(run.folder.rglob(".*"))
    assert run.finished and run.experiment().epochs == 4
    history = files.read_json(run.history)
    assert len(history) == 4 and set(history[0]) == {"loss", "squared_error", "val_loss", "val_squared_error", "learning_rate"}
    assert {"python", "keras", "tensorflow", "backend"} <= set(files.read_json(run.versions))


def test_a_finished_run_is_not_trained_again(run, small, capsys):
    before = run.model.read_bytes()
    training.train(small, run.folder)
    assert "is finished. --restart" in capsys.readouterr().out
    assert run.model.read_bytes() == before


def test_another_experiment_does_not_get_the_folder(run, small):
    with pytest.raises(ValueError, match=r"k is 8, not 3; .*epochs is 4, not 5.*--restart"):
        training.train(small.override(k=3, epochs=5), run.folder)
    assert run.finished


def test_grey_levels_are_those_of_the_data(small, tmp_path, capsys):
    experiment = small.override(likelihood="discretized_gaussian", epochs=1)
    data = kinds.open_data(experiment)
    for settings, levels in (({}, 17), ({"levels": "256"}, 256)):
        assert kinds.build(experiment.override(settings), data).likelihood.levels == levels
    capsys.readouterr()
    kind = kinds.of(experiment)
    settled = kind.settled(experiment, data)
    assert settled.levels == 17 and capsys.readouterr().out.startswith("levels=17, ")
    assert kind.settled(settled, data) == settled and kind.settled(small, data) == small
    assert capsys.readouterr().out == ""
    run = Run(tmp_path / "run")
    run.begin(settled, "float32")
    for path in (run.model, run.metrics, run.report, run.export / "a" / "1" / "saved_model.pb"):
        files.write(path, lambda beside: beside.touch())
    train(experiment, run.folder)  # the same experiment, which is finished
    with pytest.raises(ValueError, match="levels is 17, not 256"):
        train(experiment.override({"levels": "256"}), tmp_path / "run")
    with pytest.raises(ValueError, match="Expected levels to be an integer of at least 2"):
        kinds.build(experiment.override({"levels": "1"}), data)


@pytest.mark.parametrize("memory_gib", [2.0, 1e-9])
@pytest.mark.parametrize(("n", "levels"), [(1, 2), (16, 17), (100, 101), (255, 256), (1000, 256)])
def test_the_least_grid_of_levels_is_found(n, levels, memory_gib, tmp_path):
    x = np.random.default_rng(0).integers(0, n + 1, size=(1500, 6)) / n
    np.savez(tmp_path / "a.npz", x_train=x.astype("float32"), x_test=x[:10].astype("float32"))
    split = training.load(f"npz:{tmp_path}/a.npz", memory_gib=memory_gib).train
    assert zoo.DiscretizedGaussian.settings(arrays.sample(split)) == {"levels": levels}


def test_restart_trains_again(small, tmp_path):
    run = Run(tmp_path / "run")
    run.begin(small, "float32")
    for path in (run.model, run.metrics, run.export / "a" / "1" / "saved_model.pb"):
        files.write(path, lambda beside: beside.touch())
    assert run.finished
    run = train(small.override(k=3), run.folder, restart=True)
    assert run.load_model().k == 3 and not (run.export / "a").exists()


def test_a_folder_with_other_files_is_left_alone(small, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    for restart in (False, True):
        with pytest.raises(ValueError, match="holds other files"):
            train(small, tmp_path, restart=restart)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def _weights(folder) -> list[np.ndarray]:
    return Run(folder).load_model().get_weights()


def test_a_killed_and_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path):
    settings = {"width": "64", "batch_size": "8", "epochs": "150"}
    experiment = training.EXPERIMENTS["dense_digits_k8"].override(settings)
    undisturbed, run = Run(tmp_path / "undisturbed"), Run(tmp_path / "run")
    data = kinds.open_data(experiment)
    model = kinds.build(experiment, data)
    history, _ = loop.fit(model, data, experiment, undisturbed)
    command = [*TRAIN, *(f"--{key}={value}" for key, value in settings.items()), f"--workdir={run.folder}"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not run.checkpoint.exists() or _epochs(run) < 2:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= _epochs(run) < 150 and not run.model.exists()
    assert train(experiment, run.folder).finished
    fit_to_codes(model, *(evaluation.encode(model, data.train)[key] for key in ("codes", "labels")))
    for left, right in zip(model.get_weights(), _weights(run.folder), strict=True):
        np.testing.assert_array_equal(left, right)
    assert history == files.read_json(run.history)


def _epochs(run: Run) -> int:
    with np.load(run.checkpoint) as saved:
        return len(json.loads(str(saved["history"])))


@pytest.fixture
def copied(run, tmp_path):
    """A copy of a finished run, which a test may change."""
    return Run(shutil.copytree(run.folder, tmp_path / "run"))


def test_killed_after_the_last_epoch(small, copied):
    run = copied
    before = _weights(run.folder)
    for path in (run.model, run.metrics):
        path.unlink()
    assert train(small, run.folder).finished
    for left, right in zip(before, _weights(run.folder), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_run_without_a_report_gets_one_when_it_is_asked_for(small, copied, capsys):
    shutil.rmtree(copied.report.parent)
    assert train(small, copied.folder).finished and not copied.report.exists()
    assert "is finished" in capsys.readouterr().out
    assert training.train(small, copied.folder).report.exists()


def test_what_a_kill_leaves_behind_is_no_obstacle(small, tmp_path):
    folder = tmp_path / "run"
    unfinished = folder / "export" / "dense_digits_k8" / ".writing-1-123"
    unfinished.mkdir(parents=True)
    (unfinished / "saved_model.pb").write_bytes(b"half")
    assert not Run(folder).exported
    run = Run(tmp_path / "other")
    run.folder.mkdir()
    (run.folder / ".123-config.json").write_text("{")
    run.expect(small)  # killed before the first file was whole
    run.begin(small, "float32")
    run.versions.unlink()
    assert train(small, run.folder).finished and run.versions.exists()


def test_a_streamed_run_of_numbers_far_from_pixels_and_as_many_dimensions(small, digits, tmp_path, capfd):
    np.savez(tmp_path / "a.npz", x=100 * digits - 30, y=load_digits().target)
    settings = {"dataset": f"npz:{tmp_path}/a.npz", "memory_gib": "1e-9", "k": "64", "overcomplete": "true", "epochs": "2"}
    run = train(small.override(settings), tmp_path / "run")
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()  # its progress and nothing else
    assert lines and all(map(is_progress, lines)), lines
    assert run.finished and len(files.read_json(run.history)) == 2
    metrics = files.read_json(run.metrics)
    assert "pca/mse" not in metrics and metrics["knn/error"] < 1
    assert "PCA" not in training.table(run)


def test_bad_values_in_a_streamed_test_split(small, digits, tmp_path):
    spoilt = np.where(np.arange(len(digits))[:, None, None, None] < 90, digits, np.nan)
    np.savez(tmp_path / "a.npz", x_train=spoilt[:90], x_test=spoilt[90:120])
    with pytest.raises(ValueError, match="Expected finite values"):
        train(small.override({"dataset": f"npz:{tmp_path}/a.npz", "memory_gib": "1e-9"}), tmp_path / "run")


def test_a_checkpoint_of_another_model_is_refused(small, run, tmp_path):
    checkpoint = run.checkpoint.read_bytes()
    other = Run(tmp_path / "other")
    files.write(other.checkpoint, lambda path: path.write_bytes(checkpoint))
    experiment = small.override(k=3)
    data = training.load("digits")
    with pytest.raises(ValueError, match="Expected a checkpoint of this model"):
        loop.fit(kinds.build(experiment, data), data, experiment, other)


def test_a_damaged_checkpoint_is_reported_and_changes_nothing(small, tmp_path):
    data = training.load("digits")
    model = kinds.build(small, data)
    loop.compile(model, data, small)
    np.savez(tmp_path / "whole.npz", a=np.zeros(3))
    foreign, checkpoint = (tmp_path / "whole.npz").read_bytes(), Checkpoint(tmp_path / "latest.npz")
    before = model.get_weights()
    for damaged in (foreign, foreign[:-30], b"", b"letters"):
        checkpoint.path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"Expected a checkpoint of this model\. Received: .*latest\.npz.* Try --restart"):
            checkpoint.restore(model)
        assert checkpoint.path.read_bytes() == damaged and checkpoint.history == []
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_linked_folder_is_cleared_and_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    run = Run(tmp_path / "link")
    for path in (run.model, run.report, run.config):
        files.write(path, lambda beside: beside.write_text("{}"))
    run.clear()
    assert list((tmp_path / "disk").iterdir()) == [] and (tmp_path / "link").is_symlink()


def test_bad_values_in_a_stream_end_the_run_with_a_clear_error(small, digits, tmp_path):
    spoilt = digits.copy()
    spoilt[1000:1100] = 255
    np.save(tmp_path / "a.npy", spoilt)
    settings = {"dataset": f"npy:{tmp_path}/a.npy", "likelihood": "bernoulli", "memory_gib": "1e-9"}
    with pytest.raises(ValueError, match="Expected values in"):
        train(small.override(settings), tmp_path / "run")


@pytest.mark.parametrize("name", ["pca_digits_k8", pytest.param("single_layer_digits_k3", marks=pytest.mark.exhaustive)])
def test_other_experiments(name, tmp_path):
    solved = name.startswith("pca")
    experiment = training.EXPERIMENTS[name].override({} if solved else {"epochs": 3})
    metrics = files.read_json(train(experiment, tmp_path / "run").metrics)
    if solved:
        assert metrics["test/squared_error"] == pytest.approx(metrics["pca/squared_error"], rel=1e-5)


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """The results of one device and of MirroredStrategy over two, in a process with two logical CPU devices."""
    code = """
import sys
from serving.quiet import tensorflow as tf
devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
import keras, numpy as np, zoo, training
from training import kinds
from training.fitting import loop, strategies
from training.run import Run
experiment = training.EXPERIMENTS["dense_digits_k8"].override(width=32, depth=1, epochs=2)
data = kinds.open_data(experiment)
x = data.train.arrays["x"][:512]
for strategy in ("one", "mirrored"):
    run = Run(f"{sys.argv[1]}/{strategy}")
    if strategy == "mirrored":
        training.train(experiment, run.folder, strategy, report=False)
    else:  # the same, without what comes after training
        model = kinds.build(experiment, data)
        history, _ = loop.fit(model, data, experiment, run)
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
        model.save(run.model)
        training.files.write_json(run.history, history)
    with strategies.scope(strategy):
        keras.utils.set_random_seed(0)
        bottleneck = zoo.VectorQuantized(4, 8, 2, restart=0.0)
        model = zoo.Autoencoder(zoo.dense((16,), shape=(8, 8, 1)), bottleneck, zoo.dense((16,)), zoo.SquaredError())
        model.compile(keras.optimizers.SGD(1e-3))
    model.fit(tf.data.Dataset.from_tensor_slices(x).batch(64), epochs=2, verbose=0)
    np.savez(f"{sys.argv[1]}/{strategy}.npz", *model.get_weights())
"""
    training.load("digits")  # to prepare them takes scikit-learn
    folder = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    (folder / "said").write_text(done.stdout)
    return folder


def test_training_starts_without_what_comes_after_it(devices):
    loaded = next(line.split() for line in (devices / "said").read_text().splitlines() if "tensorflow" in line.split())
    assert {"keras", "training"} <= {*loaded} and not {"sklearn", "matplotlib", "keras_tuner", "httpx"} & {*loaded}


def test_two_devices_train_as_one_does(devices):
    one, two = (Run(devices / name).load_model().trainable_weights for name in ("one", "mirrored"))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, atol=2e-5)
    one, two = (files.read_json(devices / name / "history.json") for name in ("one", "mirrored"))
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, rel=1e-4)


def test_a_codebook_on_two_devices_is_that_of_one(devices):
    with np.load(devices / "one.npz") as one, np.load(devices / "mirrored.npz") as two:
        for name in one.files:
            np.testing.assert_allclose(one[name], two[name], atol=2e-5)


def test_a_variational_run_in_two_parts_equals_an_uninterrupted_one(small, tmp_path):
    """Noise, warm-up, corruption, drawn pixels and the order of a stream are resumed where they stopped."""
    changes = {"bottleneck": "gaussian", "likelihood": "bernoulli", "binarize": "dynamic", "kl_warmup": "0.9"}
    experiment = small.override(
        {**changes, "corruption": "affine_noise", "rotation": "7", "noise": "0.1", "memory_gib": "1e-9"}
    )
    assert_two_parts_are_one_whole(experiment, kinds.open_data(experiment), 2, tmp_path)


CONV = {"body": "conv", "width": "4", "depth": "1", "hidden": "8"}


def test_a_convolutional_variational_run_begun_elsewhere(small, processor, tmp_path):
    changes = {**CONV, "bottleneck": "gaussian", "likelihood": "bernoulli", "binarize": "static", "nll_samples": "20", "k": "2"}
    experiment = small.override({**changes, "left_out": "3", "epochs": "1"})
    processor("Intel(R) Xeon(R)", "avx2 avx512f amx_bf16")
    Run(tmp_path / "run").begin(experiment, strategies.precision(experiment))
    processor("AMD EPYC", "avx2")
    run = training.train(experiment, tmp_path / "run")
    assert run.computed.endswith(" CPU cores, AMD EPYC, AVX2, mixed_bfloat16")
    assert run.computed in cards.card(run, "float16") and run.computed in training.figures([run])
    model, metrics = run.load_model(), files.read_json(run.metrics)
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {"float32"}
    names = {"nll/20_samples_static_binarization", "negative_elbo/static_binarization", "negative_elbo/kl", "active_units"}
    assert names | {"anomaly/score_auroc", "anomaly/score_code_auroc"} <= set(metrics)
    assert metrics["nll/20_samples_static_binarization"] < metrics["negative_elbo/static_binarization"]
    x = np.load(run.sample)["x"]
    assert set(np.unique(x)) == {0, 1}
    pictures = {"active_units", "interpolation", "manifold", "neighbours", "samples_by_class", "variations"}
    assert pictures <= {path.stem for path in run.report.parent.glob("*.png")}
    proportions = np.asarray(model.prior.proportions)
    assert proportions[3].sum() == 0 and proportions.sum() == pytest.approx(1, abs=1e-5)


def test_another_prior_is_fitted_to_the_weights_of_a_run(run, small, tmp_path):
    changes = {"optimizer": "pretrained", "pretrained": str(run.folder), "prior": "normal"}
    other = training.train(small.override(changes), tmp_path / "run", report=False)
    model, x = other.load_model(), training.load("digits").test.arrays["x"][:5]
    np.testing.assert_allclose(model.reconstruct(x), run.load_model().reconstruct(x), atol=1e-6)
    np.testing.assert_allclose(model.prior(np.arange(3)), zoo.noise.normal(np.arange(3), model.k))
    assert other.exported
    with pytest.raises(ValueError, match="with another bottleneck"):
        training.train(small.override({**changes, "k": 3}), tmp_path / "other", report=False)


@pytest.mark.parametrize("target", ["label", "slant"])
def test_a_predictor_on_a_pretrained_encoder(target, run, small, tmp_path):
    frozen = target == "label"
    changes = {"kind": "predictor", "encoder": "pretrained", "target": target, "labels": "1000", "epochs": "30"}
    changes |= {"pretrained": str(run.folder), "frozen": str(frozen), "learning_rate": "1e-2"}
    trained = training.train(small.override(changes), tmp_path / "run")
    metrics = files.read_json(trained.metrics)
    model = trained.load_model()
    x = training.load("digits").test.arrays["x"][:5]
    assert np.allclose(model.encode(x), run.load_model().encode(x), atol=1e-5) == frozen
    assert metrics["test/error"] < 0.5 if target == "label" else metrics["test/r2"] > 0.3
    assert "examples" in {path.stem for path in trained.report.parent.glob("*.png")}
    assert trained.exported and "test/" in training.table(trained)


def test_a_run_on_jax_ends_in_the_same_export(tmp_path):
    command = [*TRAIN, "--width=32", "--depth=1", "--epochs=3", f"--workdir={tmp_path / 'run'}"]
    jax = {**ENVIRONMENT, "KERAS_BACKEND": "jax", "XLA_FLAGS": QUICKLY}
    subprocess.run(command, env=jax, check=True, capture_output=True)
    run = Run(tmp_path / "run")
    assert files.read_json(run.versions)["backend"] == "jax"
    history = files.read_json(run.history)
    assert len(history) == 3 and history[-1]["squared_error"] < history[0]["squared_error"]
    import tensorflow as tf

    served = tf.saved_model.load(str(run.export / "dense_digits_k8" / "1")).signatures
    x = training.load("digits").test.arrays["x"][:7]
    model = keras.saving.load_model(run.model)
    np.testing.assert_allclose(served["encode"](x=x)["code"], model.encode(x), atol=1e-5)
    with np.load(run.codes) as codes:
        np.testing.assert_allclose(codes["test_codes"][:7], model.encode(x), atol=1e-5)


def test_a_loss_that_explodes_ends_the_run_and_spares_the_checkpoint(small, digits, tmp_path):
    np.save(tmp_path / "a.npy", 1e12 * digits)
    experiment = small.override({"dataset": f"npy:{tmp_path}/a.npy", "learning_rate": "1e30"})
    with pytest.raises(ValueError, match=r"Expected a finite loss.*lower --learning_rate"):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists()


def test_a_run_is_resumed_after_an_explosion_with_a_lower_rate(small, tmp_path):
    run, data = Run(tmp_path / "run"), training.load(small.dataset, small.validation)
    run.begin(small, "float32")
    model = kinds.build(small, data)
    loop.compile(model, data, small)
    loop.fit_epochs(model, data, small, range(2), [Checkpoint(run.checkpoint)])
    there = run.checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"loss=.* in epoch 3\..*lower --learning_rate.*those from after epoch 2"):
        train(small.override(learning_rate=1e30), run.folder)
    assert run.checkpoint.read_bytes() == there
    train(small.override(learning_rate=1e-4), run.folder)
    rates = [epoch["learning_rate"] for epoch in files.read_json(run.history)]
    assert len(rates) == 4 and rates[1] > 1e-4 > rates[2] and run.experiment().learning_rate == 1e-4
    with pytest.raises(ValueError, match=r"learning_rate is 0\.0001"):  # it has ended
        train(small, run.folder)


def test_pipeline_errors_lets_others_through():
    with pytest.raises(KeyError), pipeline_errors():
        raise KeyError("x")
