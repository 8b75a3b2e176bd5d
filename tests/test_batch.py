"""Batch jobs: the same answers from any form of data, no row lost and none twice, and bad rows with the reason."""

import contextlib
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import half_plus_two
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import ROOT
from google.protobuf import json_format

pytest.importorskip("apache_beam", reason="batch jobs need the extra `beam`, whose packages would change those of others")

from apache_beam.runners.portability.local_job_service import LocalJobServicer

from serving.__main__ import main
from serving.batch import sinks
from serving.batch.blocks import FILE, ROW, Block
from serving.batch.coding import code
from serving.batch.command import batch
from serving.batch.feed import Feed
from serving.batch.handler import answered
from serving.batch.job import Job
from serving.batch.models import signatures, version
from serving.batch.pipeline import Write, WriteGathered
from serving.quiet import tensorflow as tf
from zoo.presets import FOLDER, load

ROWS, SHARD = 300, 128
PENGUINS = "penguins_mixed_k2"


@pytest.fixture(scope="module")
def model(run) -> str:
    return str(run.folder)


@pytest.fixture(scope="module")
def x(digits) -> np.ndarray:
    return digits[:ROWS]


@pytest.fixture(scope="module")
def codes(run, x) -> np.ndarray:
    return np.asarray(run.load_model().encode(x))


def _write(path: pathlib.Path, x: np.ndarray) -> str:
    """Digits in a file of the form that its name ends in."""
    flat = x.reshape(len(x), -1)
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, number=np.arange(len(x)), x=x)
    elif path.suffix == ".parquet":
        lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
        pa.parquet.write_table(pa.table({"number": np.arange(len(x)), "x": lists}), path, row_group_size=50)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number, row in enumerate(flat):
                features = {
                    "number": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=row)),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(path)


def _read(base: pathlib.Path) -> dict[str, np.ndarray]:
    """All shards `.npz` of an output, in the order of their names."""
    parts = [dict(np.load(path)) for path in sorted(base.parent.glob(f"{base.name}-*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reasons(base: pathlib.Path) -> dict[int, str]:
    lines = [line for path in base.parent.glob(f"{base.name}.bad-*") for line in path.read_text().splitlines()]
    return {row["row"]: row["reason"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("form", ["npy", "npz", "parquet", "tfrecord"])
def test_answers_are_the_same_from_any_form_of_data(form, model, x, codes, tmp_path):
    data = _write(tmp_path / f"x.{form}", x)
    keep = [] if form == "npy" else ["number"]
    said = batch("encode", model, [data], f"{tmp_path}/codes.npz", keep=keep, rows_per_shard=SHARD)
    assert f"{ROWS} rows in 3 shards" in said
    found = _read(tmp_path / "codes")
    assert np.array_equal(found[ROW], np.arange(ROWS)) and set(found[FILE]) == {data}
    assert all(np.array_equal(found[name], np.arange(ROWS)) for name in keep)
    np.testing.assert_allclose(found["code"], codes, atol=1e-5)


def test_answers_in_tables_and_records_are_data_of_the_next_job(run, model, x, tmp_path):
    np.save(tmp_path / "a.npy", x[:200])
    np.save(tmp_path / "b.npy", x[200:])
    assert main(["batch", "encode", model, "--input", f"{tmp_path}/?.npy", "--output", f"{tmp_path}/codes.csv"]) == 0
    batch("decode", model, [f"{tmp_path}/codes-*.csv"], f"{tmp_path}/again/", format="tfrecord")
    batch("encode", model, [f"{tmp_path}/again/decode-*.tfrecord"], f"{tmp_path}/coded.parquet")
    batch("decode", model, [f"{tmp_path}/coded-*.parquet"], f"{tmp_path}/decoded.npz")
    assert [path.name for path in sorted(tmp_path.glob("codes-*"))] == ["codes-00000-00000.csv", "codes-00001-00000.csv"]
    found = _read(tmp_path / "decoded")
    assert found[ROW].tolist() == [*range(200), *range(100)]
    reconstruct = run.load_model().reconstruct
    np.testing.assert_allclose(found["x"], reconstruct(reconstruct(x)), atol=1e-3)


def test_bad_rows_are_left_out_with_the_reason_and_no_others(model, x, codes, tmp_path):
    bad = x.copy()
    bad[[3, 200]] = np.nan
    np.save(tmp_path / "x.npy", bad)
    said = batch("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz", rows_per_shard=SHARD)
    assert "298 rows in 3 shards" in said and "2 bad rows" in said
    assert _reasons(tmp_path / "codes") == dict.fromkeys([3, 200], "Expected finite numbers as x. Received: nan.")
    found = _read(tmp_path / "codes")
    assert np.array_equal(found[ROW], np.delete(np.arange(ROWS), [3, 200]))
    np.testing.assert_allclose(found["code"], np.delete(codes, [3, 200], axis=0), atol=1e-5)


def test_a_shard_of_bad_rows_is_no_shard_of_answers(model, x, tmp_path):
    bad = x.copy()
    bad[3] = np.nan
    np.save(tmp_path / "x.npy", bad)
    job = ("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.jsonl")
    batch(*job)
    (tmp_path / "codes-00000-00000.jsonl").unlink()
    record = tmp_path / "codes.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    assert "299 rows in 1 shards" in batch(*job)


def test_pictures_are_decoded_by_the_model_and_bad_ones_named(model, x, codes, tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, each in enumerate(x[:5]):
        Image.fromarray(np.round(255 * each[..., 0]).astype("uint8")).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no picture")
    batch("encode", model, [str(folder)], f"{tmp_path}/codes.npz")
    found = _read(tmp_path / "codes")
    assert [pathlib.Path(name).stem for name in found[FILE]] == ["0", "1", "2", "4"]
    np.testing.assert_allclose(found["code"], codes[[0, 1, 2, 4]], atol=0.05)
    assert "Expected an image" in _reasons(tmp_path / "codes")[3]


def test_rows_of_a_table_keep_their_keys(tmp_path):
    lines = [
        "id,species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year",
        "first,Adelie,Torgersen,39.1,18.7,181,3750,male,2007",
        "second,Adelie,Torgersen,many,17.4,186,3800,female,2007",
        "third,Gentoo,Biscoe,,,217,4700,female,2008",
    ]
    (tmp_path / "birds.csv").write_text("\n".join(lines) + "\n")
    schema = load(PENGUINS).schema
    assert set(schema) <= set(lines[0].split(","))
    model = shutil.copytree(FOLDER / PENGUINS, tmp_path / "model")
    job = ("reconstruct", model, [f"{tmp_path}/birds.csv"], f"{tmp_path}/full.parquet")
    batch(*job, keep=["id"])
    table = pa.parquet.read_table(tmp_path / "full-00000-00000.parquet").to_pydict()
    assert table["id"] == ["first", "third"] and table[ROW] == [0, 2]
    assert table["bill_length_mm"][0] == 39.1 and 30 < table["bill_length_mm"][1] < 60
    assert _reasons(tmp_path / "full") == {1: "Expected a number in bill_length_mm. Received: 'many'."}
    assert "this job is complete" in batch(*job, keep=["id"])
    (tmp_path / "birds.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    with pytest.raises(ValueError, match=r"Expected the columns .*without year"):
        batch("reconstruct", PENGUINS, [f"{tmp_path}/birds.csv"], f"{tmp_path}/less.parquet")


def test_any_saved_model_is_asked(tmp_path):
    half_plus_two.write_tf1(tmp_path / "model" / "1")
    (tmp_path / "x.csv").write_text("name,x\na,1\nb,\nc,3\n")
    batch("serving_default", tmp_path / "model", [f"{tmp_path}/x.csv"], f"{tmp_path}/y.csv", keep=["name"])
    lines = (tmp_path / "y-00000-00000.csv").read_text().splitlines()
    assert lines == ["file,row,name,y_0", f"{tmp_path}/x.csv,0,a,2.5", f"{tmp_path}/x.csv,2,c,3.5"]
    assert _reasons(tmp_path / "y") == {1: "Expected finite numbers as x. Received: nan."}


def test_a_job_is_not_done_twice_and_one_that_was_cut_off_goes_on(model, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    job = (model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz")
    batch("encode", *job, rows_per_shard=SHARD)
    shards, record = sorted(tmp_path.glob("codes-*")), tmp_path / "codes.json"
    before = [path.stat().st_mtime_ns for path in shards]
    whole = _read(tmp_path / "codes")
    assert "this job is complete, and nothing was written" in batch("encode", *job, rows_per_shard=SHARD)
    assert [path.stat().st_mtime_ns for path in shards] == before
    with pytest.raises(ValueError, match=r"Received: .*codes.json, where other things are said of verb"):
        batch("score", *job, rows_per_shard=SHARD)

    shards[1].unlink()
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    said = batch("encode", *job, rows_per_shard=SHARD)
    assert "128 rows in 1 shards" in said and "2 shards of the same job were there already" in said
    after = [path.stat().st_mtime_ns for path in shards]
    assert after[0] == before[0] and after[2] == before[2]
    again = _read(tmp_path / "codes")
    assert all(np.array_equal(again[name], whole[name]) for name in whole)
    assert "rows in 1 shards" in batch("score", *job, overwrite=True)
    assert not shards[1].exists()


def test_shards_whose_blocks_are_in_several_bundles_are_gathered(model, tmp_path):
    with version(model) as path:
        outputs = signatures(path)["encode"][1]
    sink = sinks.Sink(f"{tmp_path}/codes", ".npz", outputs, {})

    def block(start: int, last: bool) -> Block:
        rows = range(start, start + 2)
        keys = {FILE: np.array(["x", "x"], object), ROW: np.array(rows)}
        return Block((0, 0), rows, last, keys, {"code": np.full((2, 8), start, "float32")}, {})

    job = Job(model, "encode", ("x",), "all", Feed({}, {}, {}), sink, shard=6)
    left = []
    for bundle in ([block(4, True)], [block(0, False), block(2, False)]):
        writing = Write(job)
        writing.start_bundle()
        for each in bundle:
            assert list(writing.process(each)) == []
        left += [tagged.value.value for tagged in writing.finish_bundle()]
    assert not list(tmp_path.iterdir()) and {shard for shard, _ in left} == {(0, 0)}
    list(WriteGathered(sink).process(((0, 0), [each for _, each in left])))
    found = _read(tmp_path / "codes")
    assert found[ROW].tolist() == [0, 1, 2, 3, 4, 5] and found["code"][:, 0].tolist() == [0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize("wrong", [(), (0,), (3, 4, 12), tuple(range(13))])
def test_rows_that_a_model_refuses_are_found_by_halving(wrong):
    def call(values):
        if set(values["x"].tolist()) & set(wrong):
            raise tf.errors.InvalidArgumentError(None, None, "Expected other rows.")
        return {"y": 2 * values["x"]}

    answers, bad = answered(call, {"x": np.arange(13)})
    assert bad == dict.fromkeys(wrong, "Expected other rows.")
    good = [number for number in range(13) if number not in wrong]
    assert [each for part in answers for each in part["y"].tolist()] == [2 * number for number in good]


BAD = {
    "no such verb": ({"verb": "encod"}, r"Expected a verb of the model: .*encode.* Received: encod\."),
    "no such model": ({"model": "nothing"}, r"Expected an exported model, a run, or a preset"),
    "no such file": ({"inputs": ["{}/y*.npy"]}, r"Expected files or folders that exist"),
    "a missing shard": ({"inputs": ["{}/part-*"]}, r"Expected all 3 shards\. Received: 2, without .*part-00001-of-00003\.npy"),
    "another shape": ({"inputs": ["{}/flat.npy"]}, r"Expected x of shape \('rows', 8, 8, 1\)\. Received: \('rows', 64\)"),
    "a file cut short": ({"inputs": ["{}/cut.npy"]}, r"Expected NumPy arrays .*cut\.npy"),
    "no form": ({"output": "{}/codes.txt"}, r"Expected an output that ends in .*Received: .*codes\.txt"),
    "no column": ({"keep": ["name"]}, r"Expected columns of .* to keep"),
    "no option": ({"beam": ["--direct_num_worker=2"]}, r"Received: --direct_num_worker\. Try --direct_num_workers"),
    "no such runner": ({"beam": ["--runner=OtherRunner"]}, r"Expected a runner of Beam\. Received: --runner=OtherRunner"),
    "no Java": (
        {"beam": ["--runner=FlinkRunner", "--job_server_java_launcher=./java"]},
        r"Expected Java, .*no program \./java",
    ),
    "no jar": ({"beam": ["--runner=SparkRunner", "--spark_job_server_jar=no.jar"]}, r"_jar=no\.jar, no such file"),
    "no address": ({"beam": ["--runner=PortableRunner"]}, r"Try --job_endpoint=HOST:PORT"),
    "no job server": ({"beam": ["--runner=PortableRunner", "--job_endpoint=localhost:9"]}, r"localhost:9 \(.*refused\)"),
    "no such input": ({"constants": {"temperature": "1"}}, r"Expected an input with one value a row"),
    "not writable": (
        {"output": "{}/x.npy/codes.npz"},
        r"Not a directory|File exists",
    ),
}


@pytest.fixture(scope="module")
def inputs(x, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("x", "part-00000-of-00003", "part-00002-of-00003"):
        np.save(folder / f"{name}.npy", x)
    np.save(folder / "flat.npy", x.reshape(len(x), -1))
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:1000])
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, model, inputs):
    given, message = BAD[case]
    arguments = {"verb": "encode", "model": model, "inputs": ["{}/x.npy"], "output": "{}/codes.npz", **given}
    inside = str(inputs)
    arguments["inputs"] = [each.replace("{}", inside) for each in arguments["inputs"]]
    arguments["output"] = arguments["output"].replace("{}", inside)
    with pytest.raises((ValueError, OSError), match=message):
        batch(**arguments)
    assert not list(inputs.glob("codes*"))


@pytest.fixture(scope="module")
def workers() -> Iterator[list[str]]:
    """Options for workers that a service starts, in another folder than the tests'."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = free.getsockname()
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={address[1]}"]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}) as service:
        while service.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(address):
                break
            time.sleep(0.05)
        yield ["--environment_type=EXTERNAL", f"--environment_config=localhost:{address[1]}"]
        service.terminate()


@pytest.mark.parametrize("option", ["spark_master_url=spark://host:7077", "flink_master=http://host:8081"])
def test_a_job_server_gets_options_as_they_are_and_workers_full_paths(option, model, x, codes, workers, tmp_path, monkeypatch):
    class JobServer(LocalJobServicer):
        def Prepare(self, request, *rest):
            arrived.update(json_format.MessageToDict(request.pipeline_options))
            return super().Prepare(request, *rest)

    arrived, server = {}, JobServer(str(tmp_path / "staged"))
    name, _, value = option.partition("=")
    runner = [f"--runner={name.partition('_')[0]}", f"--{option}", f"--job_endpoint=localhost:{server.start_grpc_server()}"]
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", x)
    try:
        batch("encode", model, ["x.npy"], "codes.npz", rows_per_shard=SHARD, beam=[*runner, *workers])
    finally:
        server.stop()
    found = _read(tmp_path / "codes")
    np.testing.assert_allclose(found["code"], codes, atol=1e-5)
    assert set(found[FILE]) == {str(tmp_path / "x.npy")}
    assert arrived[f"beam:option:{name}:v1"] == value


def test_a_job_server_that_cannot_be_fetched_is_named(model, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    jar = [
        "--spark_job_server_jar=http://localhost:9/server.jar",
        f"--jar_cache_dir={tmp_path}",
        "--job_server_java_launcher=sh",
    ]
    with pytest.raises(ValueError, match=r"Expected Beam's job server\. Received: no file from http://localhost:9/server\.jar"):
        batch("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz", beam=["--runner=SparkRunner", *jar])


def test_options_that_a_runner_misses_are_named(model, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    dataflow = ["--runner=DataflowRunner", "--temp_location=gs://folder", "--staging_location=gs://folder"]
    with pytest.raises(ValueError, match=r"Expected options that .* Missing required option: project\. Missing required"):
        batch("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz", beam=dataflow)


HAS_SPARK = all(map(importlib.util.find_spec, ("pyspark", "beam_pyspark_runner"))) and shutil.which("java")


@pytest.mark.skipif(not HAS_SPARK, reason="it needs Java, pyspark and beam-pyspark-runner, as make test-batch installs them")
def test_the_same_pipeline_runs_on_a_cluster_of_spark(model, x, codes, tmp_path):
    np.save(tmp_path / "x.npy", x)
    job = ["batch", "encode", model, "--input=x.npy", "--output=codes.npz", "--rows_per_shard=32"]
    cluster = "--master local-cluster[2,1,1024] --conf spark.default.parallelism=4 --conf spark.ui.enabled=false pyspark-shell"
    spark = {"PYSPARK_SUBMIT_ARGS": cluster, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **spark}
    command = [sys.executable, "-m", "serving", *job, "--runner=spark_runner.SparkRunner"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "codes-*.npz: 10 shards" in done.stdout, done.stderr[-3000:]
    found = _read(tmp_path / "codes")
    assert np.array_equal(found[ROW], np.arange(ROWS))
    np.testing.assert_allclose(found["code"], codes, atol=1e-5)


def test_a_full_disk_ends_the_job_with_its_reason(model, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no shard fits
    try:
        with pytest.raises(ValueError, match=r"Expected what the operating system allows\. Received: .*Try freeing space"):
            batch("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz", rows_per_shard=256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "300 rows in 2 shards" in batch("encode", model, [f"{tmp_path}/x.npy"], f"{tmp_path}/codes.npz", rows_per_shard=256)


def test_many_files_are_compressed_and_come_back(tmp_path):
    from zoo import sample

    x = sample("vae_mnist")["x"][:6] > 0.5
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", x[:2])
    np.save(tmp_path / "in" / "b.npy", x[2:])
    np.save(tmp_path / "in" / "grey.npy", np.full((2, 28, 28, 1), 0.3, "float32"))
    said = code("compress", "vae_mnist", [f"{tmp_path}/in/*.npy"], f"{tmp_path}/out")
    assert "Wrote 2 files" in said and "1 files were refused" in said
    assert "grey.npy" in (tmp_path / "out" / "compress.bad.jsonl").read_text()
    assert sorted(path.name for path in (tmp_path / "out").glob("*.laz")) == ["a.npy.laz", "b.npy.laz"]
    assert "2 were there already" in code("compress", "vae_mnist", [f"{tmp_path}/in/[ab].npy"], f"{tmp_path}/out")
    code("decompress", "vae_mnist", [f"{tmp_path}/out/*.laz"], f"{tmp_path}/again")
    assert np.array_equal(np.load(tmp_path / "again" / "a.npy"), x[:2])
    assert np.array_equal(np.load(tmp_path / "again" / "b.npy"), x[2:])
    assert [path.name for path in sorted((tmp_path / "again").iterdir())] == ["a.npy", "b.npy"]


def test_processes_that_are_killed_cost_no_row_and_none_is_written_twice(run, digits, tmp_path):
    np.save(tmp_path / "x.npy", np.tile(digits, (40, 1, 1, 1)))
    job = ["batch", "encode", str(run.folder), "--input", f"{tmp_path}/x.npy", "--output", f"{tmp_path}/codes.npz"]
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    command = [sys.executable, "-m", "serving", *job, "--rows_per_shard=256", *workers]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)

    def wait_for_more(shards: int) -> None:
        while len(list(tmp_path.glob("codes-*"))) <= shards and process.poll() is None:
            time.sleep(0.01)

    wait_for_more(0)
    os.kill(_workers(process.pid)[0], signal.SIGKILL)
    assert any("what is left is begun again" in line for line in process.stderr)
    wait_for_more(len(list(tmp_path.glob("codes-*"))))
    working = _workers(process.pid)
    process.kill()
    process.communicate()
    for _ in range(1000):
        if not any(map(_is_worker, working)):
            break
        time.sleep(0.01)
    assert working and not any(map(_is_worker, working))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob("codes-*")}
    assert not json.loads((tmp_path / "codes.json").read_text())["complete"]

    done = subprocess.run(command[: -len(workers)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and f"{len(there)} shards of the same job were there already" in done.stdout
    assert "Exception" not in done.stderr
    found = _read(tmp_path / "codes")
    assert np.array_equal(found[ROW], np.arange(40 * len(digits)))
    assert all(path.stat().st_mtime_ns == written for path, written in there.items())


def _workers(parent: int) -> list[int]:
    """Of the processes below one, those that run Beam's workers."""
    parents = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    def is_below(process: int) -> bool:
        return process == parent or (process in parents and is_below(parents[process]))

    return [process for process in parents if is_below(process) and _is_worker(process)]


def _is_worker(process: int) -> bool:
    with contextlib.suppress(OSError):
        words = pathlib.Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        return b"apache_beam.runners.worker.sdk_worker_main" in words
    return False
