"""Files of compressed data: they come back to the bit, or say why not."""

import re
import shutil
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import training
import zoo
from serving.__main__ import main
from serving.export import export
from training.run import trained
from zoo import compression
from zoo.coding import container
from zoo.coding.fingerprint import fingerprint
from zoo.schema import Feature

SHAPE = (8, 8, 1)
ROWS = 2_100  # of three chunks


@pytest.fixture(scope="module")
def model() -> zoo.Autoencoder:
    """Of digits of two levels, trained for a few seconds."""
    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(
        zoo.dense((48,), shape=SHAPE), zoo.Gaussian(4), zoo.dense((48,)), zoo.Bernoulli(), zoo.StandardNormal()
    )
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(_binary(), epochs=12, batch_size=32, verbose=0)
    return model


def _binary() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().images[..., None] > 7


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.concatenate([_binary(), _binary()])[:ROWS]


@pytest.fixture(scope="module")
def file(model, x) -> bytes:
    return zoo.compress(model, x)


def test_it_comes_back_to_the_bit_and_takes_what_the_model_says(model, x, file):
    again = zoo.decompress(file, model)
    assert again.dtype == x.dtype and np.array_equal(again, x)
    ideal = float(np.sum(model.bits(x)))
    assert 8 * len(file) == pytest.approx(ideal, rel=0.05)
    digits = _binary()
    packed = zlib.compress(np.packbits(digits).tobytes(), 9)
    assert len(file) / len(x) < 0.9 * len(packed) / len(digits)


@pytest.mark.parametrize("prior", [zoo.StandardNormal(), zoo.Mixture(2)])
def test_the_best_of_several_particles_takes_what_the_importance_weighted_bound_says(prior, model, x):
    with_prior = zoo.Autoencoder(model.encoder, model.bottleneck, model.decoder, model.likelihood, prior)
    if isinstance(prior, zoo.Mixture):
        means = np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
        prior.assign(np.array([0.5, 0.5]), means, np.eye(4)[None] * np.ones((2, 1, 1)))
    rows = x[:1_024]
    files = [zoo.compress(with_prior, rows, particles=particles) for particles in (1, 6)]
    assert np.array_equal(zoo.decompress(files[1], with_prior), rows)
    gains = [np.sum(with_prior.log_likelihood(rows, np.arange(1_024), samples)) / np.log(2) for samples in (1, 6)]
    assert gains[1] - gains[0] > 500
    assert 8 * (len(files[0]) - len(files[1])) == pytest.approx(gains[1] - gains[0], abs=1_000)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "int64"])
def test_rows_come_back_in_their_dtype(dtype, model, x):
    rows = x[:40].astype(dtype) * (255 if dtype == "uint8" else 1)
    again = zoo.decompress(zoo.compress(model, rows), model)
    assert again.dtype == dtype and again.tobytes() == rows.tobytes()


@pytest.mark.parametrize("rows", [0, 1, 1024])
def test_files_of_any_number_of_rows(rows, model, x):
    again = zoo.decompress(zoo.compress(model, x[:rows]), model)
    assert again.dtype == bool and np.array_equal(again, x[:rows])


def test_levels_come_back_whatever_prior_has_been_fitted():
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(0)
    model = zoo.Autoencoder(
        zoo.conv(SHAPE, 4), zoo.Gaussian(3), zoo.conv_decoder(SHAPE, 4), zoo.DiscretizedGaussian(17), zoo.Mixture(2)
    )
    scales = np.array([[[1, 0, 0], [0.5, 0.7, 0], [-0.2, 0.1, 0.4]]] * 2)
    model.prior.assign(np.array([0.3, 0.7]), np.array([[1.0, 0, 0], [-1.0, 0.5, 2]]), scales @ scales.swapaxes(1, 2))
    x = (load_digits().images[:200, ..., None] / 16).astype("float32")
    file = zoo.compress(model, x)
    assert zoo.decompress(file, model).tobytes() == x.tobytes()
    assert len(zoo.decompress(file, model, rows=slice(150, None))) == 50


def test_rows_of_one_chunk_do_not_need_the_others(model, x, file):
    whole = container.read(file)
    broken = bytearray(file)
    broken[whole.entries[0].offset] ^= 1
    assert np.array_equal(zoo.decompress(bytes(broken), model, rows=range(1_500, 2_060)), x[1_500:2_060])
    with pytest.raises(ValueError, match=r"Received: chunk 0, which is damaged\. Try .*--salvage"):
        zoo.decompress(bytes(broken), model, rows=range(1_000, 1_200))
    with pytest.raises(ValueError, match=r"rows from 0 to 2,100\. Received: 2000:3000"):
        zoo.decompress(file, model, rows=range(2_000, 3_000))


def test_undamaged_chunks_can_be_had(model, x, file):
    entry = container.read(file).entries[1]
    broken = bytearray(file)
    broken[entry.offset + 5] ^= 4
    saved = zoo.salvage(bytes(broken), model)
    assert saved.rows.tolist() == [*range(1_024), *range(2_048, ROWS)] and np.array_equal(saved.x, x[saved.rows])
    assert [*saved.damaged] == [1] and "chunk 1, which is damaged" in saved.damaged[1]
    cut = zoo.salvage(file[: entry.offset + 9], model)
    assert cut.rows.tolist() == [*range(1_024)] and [*cut.damaged] == [1, 2]


def test_damaged_files_never_give_wrong_data(model, x, file):
    """Bits that are flipped, files that are cut, parts that change places: an error each time, or the rows as they were."""
    random, refused = np.random.default_rng(0), 0
    for _ in range(1_000):
        damaged = _damaged(file, random)
        try:
            assert np.array_equal(zoo.decompress(damaged, model), x) and damaged == file
        except ValueError as error:
            assert str(error).startswith("Expected ") and "Try " in str(error)
            refused += 1
    assert refused > 950


def _damaged(file: bytes, random: np.random.Generator) -> bytes:
    kind, data = random.integers(5), bytearray(file)
    first, second = sorted(random.integers(len(file), size=2).tolist())
    length = int(random.integers(1, 200))
    if kind == 0:  # flips of bits
        for place in random.integers(8 * len(file), size=random.integers(1, 4)).tolist():
            data[place // 8] ^= 1 << place % 8
    elif kind == 1:
        del data[first:]
    elif kind == 2:
        del data[first : first + length]
    elif kind == 3:  # parts change places
        data[first : first + length], data[second : second + length] = (
            file[second : second + length],
            file[first : first + length],
        )
    else:
        data[first:first] = random.bytes(length)
    return bytes(data)


def test_numbers_that_differ_are_found_where_every_checksum_of_bytes_is_right(model, file):
    """As a decoder would make them that computes otherwise than the one that wrote the file."""
    whole = container.read(file)
    words = np.frombuffer(whole.payload(0), "<u4").copy()
    words[len(words) // 2] ^= 2
    chunks = [container.Chunk(whole.payload(number), each.rows, each.decoded_crc) for number, each in enumerate(whole.entries)]
    forged = container.written(whole.head, [chunks[0]._replace(payload=words.tobytes()), *chunks[1:]])
    with pytest.raises(ValueError, match=r"Received: chunk 0, which cannot be decoded \(a stack that does not end"):
        zoo.decompress(forged, model)
    other = container.written(whole.head, [chunks[0]._replace(crc=1), *chunks[1:]])
    with pytest.raises(ValueError, match="chunk 0, which decodes to other numbers"):
        zoo.decompress(other, model)


def test_another_model_version_or_machine_is_refused_with_the_reason(model, x, file):
    whole = container.read(file)
    chunks = [container.Chunk(whole.payload(number), each.rows, each.decoded_crc) for number, each in enumerate(whole.entries)]
    other = keras.models.clone_model(model)
    with pytest.raises(ValueError, match=r"Expected the model that the file was written with, .*Received: another"):
        zoo.decompress(file, other)
    with pytest.raises(ValueError, match=r"Expected a file of one of the presets"):
        zoo.decompress(file)
    with pytest.raises(ValueError, match=r"computes to the bit as the one that wrote the file, with keras .* Try there, or"):
        zoo.decompress(container.written(whole.head | {"digest": "0" * 16}, chunks), model)
    with pytest.raises(ValueError, match="Expected a mode of bits_back"):
        zoo.decompress(container.written(whole.head | {"mode": "later"}, chunks), model)
    newer = bytearray(file)
    newer[8] = container.VERSION + 1
    with pytest.raises(ValueError, match=r"Expected a file of version 1\. Received: 2"):
        zoo.decompress(bytes(newer), model)
    with pytest.raises(ValueError, match="Expected a file that compress wrote"):
        zoo.decompress(b"GIF89a" + file, model)


COLUMNS = {
    "length": Feature("continuous", mean=40.0, scale=5.0, decimals=1, range=(30.0, 55.5), missing=0.02),
    "sex": Feature("binary", classes=("f", "m"), shares=(0.5, 0.5), missing=0.1),
    "island": Feature("categorical", classes=("a", "b", "c"), shares=(0.5, 0.3, 0.2)),
    "grade": Feature("ordinal", classes=(1.0, 2.0, 3.0), shares=(0.2, 0.5, 0.3), mean=2.1, scale=0.7),
}


def _table(columns=COLUMNS, bottleneck=None) -> zoo.TableAutoencoder:
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((len(columns),)), zoo.ColumnInputs(columns), keras.layers.Dense(8, "gelu")])
    return zoo.TableAutoencoder(encoder, bottleneck or zoo.Gaussian(2), zoo.dense((8,)), zoo.Mixed(columns))


def _rows(count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    length = np.round(random.normal(40, 5, count), 1)
    length[::31] = np.nan
    island, grade = random.choice(["a", "b", "c"], count), random.choice([1.0, 2.0, 3.0], count)
    return {
        "length": length,
        "sex": random.choice(["f", "m", ""], count, p=[0.45, 0.45, 0.1]),
        "island": island,
        "grade": grade,
    }


@pytest.mark.parametrize("bottleneck", [zoo.Gaussian, zoo.Deterministic])
@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("particles", [1, 2])
def test_rows_of_a_table_come_back(bottleneck, portable, particles):
    model, rows = _table(bottleneck=bottleneck(2)), _rows(300)
    file = zoo.compress(model, rows, portable=portable, particles=particles)
    again = zoo.decompress(file, model)
    assert [*again] == [*COLUMNS]
    for name, column in rows.items():
        assert np.array_equal(again[name], column.astype(again[name].dtype), equal_nan=column.dtype.kind == "f"), name
    entropy = 300 * (np.log2(5 * np.sqrt(2 * np.pi * np.e) / 0.1) + 1.4 + 1.6 + 1.6 + 0.2)
    assert entropy < 8 * len(file) < 1.4 * entropy + 6_000
    if bottleneck is zoo.Gaussian:
        ideal = float(np.sum(model.bits(rows)))
        assert 0.9 * ideal < 8 * len(file) < 1.1 * ideal + 6_000  # with the head


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("length", 40.05, r"cells that come back to the bit\. Received: .*40.05.* in row 1 of length"),
        ("length", 900.0, "900.0.* in row 1 of length"),
        ("island", "d", "'d' in row 1 of island"),
        ("grade", 1.5, "1.5.* in row 1 of grade"),
    ],
)
def test_cells_that_would_not_come_back_are_refused(column, value, message):
    rows = {name: values.astype(object) for name, values in _rows(3).items()}
    rows[column][1] = value
    with pytest.raises(ValueError, match=message):
        zoo.compress(_table(), rows)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (Feature("continuous", mean=0.0, scale=1.0, range=(-1.0, 1.0)), "Received: x, numbers of any number of decimals"),
        (
            Feature("count", mean=2.0, scale=1.0, log_mean=1.0, log_scale=1.0, range=(0.0, 9.0), decimals=0),
            "Received: x, of the type count",
        ),
    ],
)
def test_columns_that_are_not_discrete_are_named(feature, message):
    with pytest.raises(ValueError, match=message):
        zoo.compress(_table({**COLUMNS, "x": feature}), {**_rows(2), "x": np.array([0.0, 1.0])})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((2, *SHAPE), 0.5, "float32"), r"levels 0, 1/1, …, 1 to the bit.* Received: 0.5 of float32 in row 0, and 127"),
        (np.ones((2, *SHAPE), "uint8"), r"Received: 1 of uint8 in row 0.* Try x.astype\(bool\), or --lossy"),
        (np.full((1, *SHAPE), np.nan), "Received: nan of float64 in row 0"),
        (np.full((1, *SHAPE), -0.0), "Received: -0.0 of float64 in row 0"),
        (np.ones((2, 7, 8, 1)), "Expected shape"),
    ],
)
def test_rows_that_would_not_come_back_are_refused(rows, message, model):
    with pytest.raises(ValueError, match=message):
        zoo.compress(model, rows)


def test_a_code_that_is_not_drawn_is_coded_in_an_interval(x):
    keras.utils.set_random_seed(0)
    model = zoo.dense_autoencoder(SHAPE, 4, (32,), likelihood=zoo.Bernoulli())
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(x, epochs=3, verbose=0)
    training.fit_prior(model, x[:1_000])
    file = zoo.compress(model, x)
    assert np.array_equal(zoo.decompress(file, model), x) and 8 * len(file) < x.size
    with pytest.raises(ValueError, match="Expected a bottleneck that draws codes for bits"):
        model.bits(x)


@pytest.mark.parametrize(
    ("parts", "received"),
    [
        ((zoo.Gaussian(2), zoo.SquaredError()), "SquaredError, which gives no probabilities of levels"),
        ((zoo.VectorQuantized(2, 8, 2), zoo.Bernoulli()), "a VectorQuantized bottleneck"),
    ],
)
def test_models_that_cannot_are_refused_and_lossy_is_named(parts, received):
    bottleneck, likelihood = parts
    model = zoo.Autoencoder(zoo.linear(SHAPE), bottleneck, zoo.linear(), likelihood)
    with pytest.raises(ValueError, match=rf"Received: {received}\. Try --lossy"):
        zoo.compress(model, np.zeros((1, *SHAPE)))
    with pytest.raises(ValueError, match=r"Try --lossy"):
        model.bits(np.zeros((1, *SHAPE)))


def test_a_file_says_what_it_holds(file):
    said = compression.inspect(file)
    assert (said["mode"], said["shape"], said["rows"], said["bytes"]) == ("bits_back", [8, 8, 1], ROWS, len(file))
    assert [(each["first"], each["rows"], each["whole"]) for each in said["chunks"]] == [
        (0, 1024, True),
        (1024, 1024, True),
        (2048, 52, True),
    ]
    assert [each["whole"] for each in compression.inspect(file[:-1])["chunks"]] == [True, True, False]


def test_files_of_a_model_that_only_this_machine_computes_alike_come_back_too(model, x):
    file = zoo.compress(model, x[:150], portable=False)
    assert compression.inspect(file)["settings"]["network"] == "native"
    assert np.array_equal(zoo.decompress(file, model), x[:150])


@pytest.fixture
def folder(model, x, tmp_path):
    """With a preset and data, as the current folder."""
    zoo.save_preset(model, tmp_path / "model")
    np.save(tmp_path / "x.npy", x[:1_500, ..., 0])
    return tmp_path


def test_commands_compress_look_and_give_back(folder, x, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["compress", "model", "x.npy", "x.npy", "x.laz"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"3,000 rows in [\d,]+ bytes, 0\.\d+ bits a value", said)
    assert re.search(r"by the bound on log p: [\d,]+ bytes; the file has [+-]\d\.\d%", said)
    assert re.search(r"zstd -19: [\d,]+ bytes, \d\.\d+ times as many\nthe model: [\d,]+ bytes, which does not pay", said)
    assert main(["inspect", "x.laz"]) == 0
    said = capsys.readouterr().out
    assert "rows:         3000\n" in said and "chunk 2: rows 2,048 to 2,999," in said
    assert main(["decompress", "x.laz", "y.npy", "--model=model"]) == 0
    assert np.array_equal(np.load("y.npy"), np.concatenate([x[:1_500]] * 2))
    assert main(["decompress", "x.laz", "y.npy", "--model=model", "--rows=2990:"]) == 0
    assert np.array_equal(np.load("y.npy"), x[1_490:1_500])


def test_a_file_of_a_model_is_read_with_its_export(folder, x, model, monkeypatch, capsys):
    """And the other way round, whichever of its folders is named."""
    monkeypatch.chdir(folder)
    version = export(model, folder / "exported", "digits")
    shutil.copytree(version, folder / "moved")
    np.save("few.npy", x[:100])
    assert main(["compress", "model", "few.npy", "few.laz"]) == 0
    for path in ("exported/digits", "exported/digits/1", "moved"):
        assert main(["decompress", "few.laz", "y.npy", f"--model={path}"]) == 0
        assert np.array_equal(np.load("y.npy"), x[:100])
    assert main(["compress", "exported/digits/1", "few.npy", "again.laz"]) == 0
    assert compression.inspect((folder / "again.laz").read_bytes())["model"] == "digits"
    assert np.array_equal(zoo.decompress((folder / "again.laz").read_bytes(), model), x[:100])
    (folder / "moved" / "assets.extra" / "model.json").unlink()
    assert main(["compress", "moved", "few.npy", "again.laz"]) == 2
    assert "Received: moved, without assets.extra/model.json" in capsys.readouterr().err


def test_the_export_of_a_run_is_the_same_model(run):
    (version,) = run.export.glob("*/1")
    assert fingerprint(trained(version)) == fingerprint(trained(run.folder))


def test_commands_take_and_give_folders_of_pictures(folder, x, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "pictures").mkdir()
    for number in range(5):
        Image.fromarray(x[number, ..., 0].astype("uint8") * 255).save(folder / "pictures" / f"{number}.png")
    assert main(["compress", "model", "pictures", "x.laz", "--portable=false"]) == 0
    assert main(["decompress", "x.laz", "again", "--model=model", "--rows=3:5"]) == 0
    assert sorted(path.name for path in (folder / "again").iterdir()) == ["000003.png", "000004.png"]
    assert np.array_equal(np.asarray(Image.open(folder / "again" / "000004.png")) > 0, x[4, ..., 0])
    Image.new("L", (9, 8)).save(folder / "pictures" / "wide.png")
    assert main(["compress", "model", "pictures", "x.laz"]) == 2
    assert (
        "Expected a picture of 8 x 8 pixels and 1 channels. Received: pictures/wide.png (9 x 8, L)" in capsys.readouterr().err
    )


def test_commands_take_and_give_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    zoo.save_preset(_table(bottleneck=zoo.Deterministic(2)), "model")
    rows = _rows(40)
    lines = [",".join(map(str, row)).replace("nan", "") for row in zip(*(each.tolist() for each in rows.values()), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(rows), *lines]) + "\n")
    assert main(["compress", "model", "t.csv", "t.laz"]) == 0
    assert "40 rows in" in capsys.readouterr().out
    assert main(["decompress", "t.laz", "u.csv", "--model=model"]) == 0
    again = [line.replace(".0,", ",").removesuffix(".0") for line in (tmp_path / "u.csv").read_text().splitlines()]
    assert again == [line.replace(".0,", ",").removesuffix(".0") for line in (tmp_path / "t.csv").read_text().splitlines()]
    (tmp_path / "t.csv").write_text("id," + "\n1,".join([",".join(rows), *lines]) + "\n")
    assert main(["compress", "model", "t.csv", "t.laz"]) == 2
    assert (
        "Expected the columns that the model has alone: length, sex, island, grade. Received: id too" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decompress", "cut.laz", "y.npy", "--model=model"], "Received: a file that is cut short by 1 bytes"),
        (["decompress", "x.npy", "y.npy"], "Expected a file that compress wrote"),
        (["decompress", "cut.laz", "y.npy", "--rows=5"], "Expected START:STOP. Received: 5."),
        (["compress", "dense_mnist_k30", "x.npy", "y.laz"], "Try --lossy"),
        (["compress", "model", "none.npy", "y.laz"], "none.npy"),
        (["compress", "model", "x.npy", "y.laz", "--particles=0"], "particles"),
    ],
)
def test_wrong_input_is_one_line(words, message, folder, file, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "cut.laz").write_bytes(file[:-1])
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("python -m serving: ")]
    assert len(lines) == 1 and message in lines[0]
    assert not (folder / "y.laz").exists() and not (folder / "y.npy").exists()


def test_the_command_salvages_what_is_whole(folder, x, file, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "cut.laz").write_bytes(file[:-1])
    assert main(["decompress", "cut.laz", "y.npy", "--model=model", "--salvage"]) == 0
    assert "ends within chunk 2" in capsys.readouterr().err
    assert np.array_equal(np.load("y.npy"), x[:2_048])


READ = """
import sys
import numpy as np
import zoo
folder = sys.argv[1]
model = zoo.load(folder + "/model")
for name in ("portable", "native"):
    try:
        found = zoo.decompress(open(f"{folder}/{name}.laz", "rb").read(), model)
        print(name, np.array_equal(found, np.load(folder + "/x.npy")))
    except ValueError as error:
        print(name, "refused" if "computes to the bit" in str(error) else error)
"""


@pytest.mark.parametrize("backend", [pytest.param("tensorflow", marks=pytest.mark.exhaustive), "jax"])
def test_a_file_is_read_elsewhere_exactly_or_refused(backend, model, x, tmp_path):
    """In a fresh process, with one thread, without oneDNN, on each backend: exactly, if it is portable."""
    folder = tmp_path / "model"
    zoo.save_preset(model, folder)
    np.save(tmp_path / "x.npy", x[:300])
    for name in ("portable", "native"):
        (tmp_path / f"{name}.laz").write_bytes(zoo.compress(model, x[:300], portable=name == "portable"))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    settings = {"KERAS_BACKEND": backend, "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": str(ROOT), "PATH": "", **threads}
    done = subprocess.run([sys.executable, "-c", READ, tmp_path], env=settings, capture_output=True, text=True, check=True)
    portable, native = done.stdout.splitlines()[-2:]
    assert portable == "portable True"
    assert native in ("native True", "native refused")
