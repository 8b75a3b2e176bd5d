"""Sources, splits and pipelines, with real files."""

import os
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

import training
import zoo
from training.data import arrays, graphs
from training.data.predictor import slant, targeted
from training.data.splits import pipeline_errors


def _read(split) -> dict[str, np.ndarray]:
    parts = list(split.batches(100))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_tensors_have_the_memory_of_arrays_that_were_made_for_them():
    x = training.load("digits").train.arrays["x"]
    for array, shared in ((x, True), (x[:9], True), (x[:, :, ::2], False), (x.copy(order="F"), False), (x[:0], False)):
        tensor = graphs.tensor(array)
        np.testing.assert_array_equal(tensor, array)
        assert np.shares_memory(np.asarray(tensor), array) == shared


@pytest.fixture
def folder(tmp_path):
    """40 grey images of 10×12 in two classes."""
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "images" / ("cat" if i % 2 else "dög") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 12), dtype="uint8")).save(path)
    return tmp_path / "images"


def test_digits_are_scikit_learns():
    data = training.load("digits", validation=0.1)
    assert {name: split.size for name, split in data.splits.items()} == {"train": 1295, "validation": 143, "test": 359}
    assert data.shape == (8, 8, 1) and data.classes == tuple("0123456789")
    rows = [_read(split) for split in data.splits.values()]
    together = np.concatenate([part["x"] for part in rows]).reshape(-1, 64)
    packaged = load_digits().data.astype("float32") / 16
    np.testing.assert_array_equal(together[np.lexsort(together.T)], packaged[np.lexsort(packaged.T)])
    assert len(np.unique(np.concatenate([part["id"] for part in rows]))) == 1797


@pytest.mark.parametrize("kind", ["npz", "npy", "folder"])
def test_files_in_memory_and_streamed_are_the_same(kind, folder, tmp_path, digits):
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=digits[:200], y=load_digits().target[:200])
    np.save(tmp_path / "a.npy", digits[:200])
    name = f"folder:{folder}" if kind == "folder" else f"{kind}:{tmp_path / 'a'}.{kind}"
    held, streamed = (training.load(name, validation=0.1, memory_gib=gib) for gib in (1.0, 1e-9))
    assert held.train.arrays is not None and streamed.train.stream is not None
    for split in ("train", "validation", "test"):
        left, right = _read(held.splits[split]), _read(streamed.splits[split])
        assert left.keys() == right.keys()
        for column in left:
            np.testing.assert_array_equal(left[column], right[column])
    ids = [set(_read(split)["id"]) for split in held.splits.values()]
    assert sum(map(len, ids)) == len(set.union(*ids)) == (40 if kind == "folder" else 200)


def test_a_folder_has_its_classes_and_pixels(folder):
    data = training.load(f"folder:{folder}")
    assert data.classes == ("cat", "dög") and data.shape == (10, 12, 1)
    rows = _read(data.test)
    for x, label, name in zip(rows["x"], rows["label"], rows["id"], strict=True):
        assert name.split("/")[0] == data.classes[label]
        np.testing.assert_array_equal(np.asarray(Image.open(folder / name)), np.rint(255 * x[..., 0]))


def test_images_of_a_folder_are_cropped_and_resized(folder):
    Image.new("L", (30, 20)).save(folder / "other.jpg")
    assert training.load(f"folder:{folder}", image_size=8).shape == (8, 8, 1)
    with pytest.raises(ValueError, match=r"Expected images of one size.*other.jpg.*--image_size=10"):
        training.load(f"folder:{folder}")


def test_arrays_that_bring_their_own_test_split(tmp_path, digits):
    labels = load_digits().target
    np.savez(tmp_path / "a.npz", x_train=digits[:90], y_train=labels[:90], x_test=digits[90:120], y_test=labels[90:120])
    data = training.load(f"npz:{tmp_path}/a.npz")
    np.testing.assert_array_equal(_read(data.test)["x"], digits[90:120])
    rows = _read(data.train)
    np.testing.assert_array_equal(rows["label"], labels[rows["id"].astype(int)])
    np.testing.assert_array_equal(rows["x"], digits[rows["id"].astype(int)])


def test_both_parts_number_their_labels_alike(tmp_path, digits):
    np.savez(tmp_path / "a.npz", x_train=digits[:60], y_train=np.arange(60) % 3, x_test=digits[60:90], y_test=np.full(30, 2))
    data = training.load(f"npz:{tmp_path}/a.npz")
    assert data.classes == ("0", "1", "2") and set(_read(data.test)["label"]) == {2}
    np.savez(tmp_path / "b.npz", x_train=digits[:60], y_train=np.arange(60) % 3, x_test=digits[60:90])
    assert training.load(f"npz:{tmp_path}/b.npz").classes is None
    np.savez(tmp_path / "c.npz", x_train=digits[:60], x_test=digits[60:90, :4])
    with pytest.raises(ValueError, match="rows of one shape"):
        training.load(f"npz:{tmp_path}/c.npz")


def test_distinct_numbers_are_not_classes(tmp_path, digits):
    np.savez(tmp_path / "a.npz", x=digits[:50], y=np.arange(50))
    assert training.load(f"npz:{tmp_path}/a.npz").classes is None


def test_sixteen_bits_are_shown_as_they_are(tmp_path):
    for i in range(12):
        Image.fromarray(np.full((4, 4), 5000 * i, dtype="uint16")).save(tmp_path / f"{i:02}.png")
    rows = _read(training.load(f"folder:{tmp_path}").train)
    for x, name in zip(rows["x"], rows["id"], strict=True):
        np.testing.assert_allclose(x, 5000 * int(name[:2]) / 65535, atol=1 / 255)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "longdouble", ">i2", "bool"])
def test_numbers_are_read_whatever_their_byte_order(tmp_path, dtype):
    values = (np.arange(200).reshape(20, 10) % 7).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    rows = _read(training.load(f"npy:{tmp_path}/a.npy").train)
    np.testing.assert_array_equal(rows["x"], values[rows["id"].astype(int)].astype("float32"))


def test_grey_images_without_channels_are_images(tmp_path, digits):
    np.save(tmp_path / "a.npy", (255 * digits[:50, :, :, 0]).astype("uint8"))
    assert training.load(f"npy:{tmp_path}/a.npy").shape == (8, 8, 1)


def test_one_colour_image_makes_the_folder_colour(folder):
    Image.new("RGB", (12, 10), (255, 0, 0)).save(folder / "dög" / "z.png")
    assert training.load(f"folder:{folder}").shape == (10, 12, 3)


def test_a_folder_that_brings_its_split(folder, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(folder, tmp_path / "split" / part)
    data = training.load(f"folder:{tmp_path}/split")
    assert data.classes == ("cat", "dög") and (data.train.size, data.test.size) == (40, 40)
    assert set(_read(data.test)["id"]) == set(_read(data.train)["id"])  # names within their part


def test_bytes_are_scaled_and_other_numbers_are_not(tmp_path):
    values = np.arange(200).reshape(20, 10)
    np.save(tmp_path / "bytes.npy", values.astype("uint8"))
    np.save(tmp_path / "whole.npy", values)
    for file, scale in (("bytes", 255), ("whole", 1)):
        rows = _read(training.load(f"npy:{tmp_path}/{file}.npy").train)
        np.testing.assert_allclose(rows["x"], values[rows["id"].astype(int)] / scale, rtol=1e-6)


@pytest.mark.parametrize("memory_gib", [1.0, 1e-9])
def test_every_epoch_is_a_new_order_of_the_same_rows(memory_gib):
    data = training.load("digits", memory_gib=memory_gib)
    epochs = list(data.train.training(1438, 1, range(2)))
    assert len(epochs) == 2 and np.abs(epochs[0] - epochs[1]).max() > 0
    for epoch in epochs:
        assert len(np.unique(epoch, axis=0)) == len(np.unique(_read(data.train)["x"], axis=0))


@pytest.mark.parametrize("memory_gib", [1.0, 1e-9])
@pytest.mark.parametrize("shift", [0, 1])
def test_batches_depend_on_seed_and_step_alone(memory_gib, shift):
    train = training.load("digits", memory_gib=memory_gib, shift=shift).train
    whole = [x.numpy() for x in train.training(100, 14, range(3), seed=5)]
    rest = [x.numpy() for x in train.training(100, 14, range(2, 3), seed=5)]
    np.testing.assert_array_equal(whole[28:], rest)
    other = [x.numpy() for x in train.training(100, 14, range(2, 3), seed=6)]
    assert np.abs(np.stack(rest) - np.stack(other)).max() > 0


def test_a_shift_moves_all_images_of_a_batch():
    still, moved = (next(iter(training.load("digits", shift=shift).train.training(50, 28, range(1)))) for shift in (0, 3))
    moves = [(a, b) for a in range(-3, 4) for b in range(-3, 4)]
    assert any(np.array_equal(tf.roll(still, move, [1, 2]), moved) for move in moves)


def test_only_images_are_shifted(tmp_path, digits):
    np.save(tmp_path / "a.npy", digits.reshape(-1, 64))
    with pytest.raises(ValueError, match=r"Expected images.*shape \(64,\)"):
        training.load(f"npy:{tmp_path}/a.npy", shift=1)


def test_a_bad_value_in_a_stream_is_a_clear_error(tmp_path, digits):
    spoilt = digits.copy()
    spoilt[:, 3, 3] = np.nan
    np.save(tmp_path / "a.npy", spoilt)
    data = training.load(f"npy:{tmp_path}/a.npy", memory_gib=1e-9)
    model = zoo.dense_autoencoder(data.shape, 2)
    with pytest.raises(ValueError, match="Expected finite values"), pipeline_errors():
        list(data.train.training(10, 5, range(1), check=model.check))


@pytest.mark.parametrize("value", [np.nan, 1e20, 1e39])
def test_a_value_beyond_float32_is_refused_with_its_row(value, tmp_path, digits):
    spoilt = digits[:50].astype("float64")
    spoilt[17, 3, 3] = value
    np.save(tmp_path / "a.npy", spoilt)
    np.savez(tmp_path / "a.npz", x_train=spoilt, x_test=digits[:50])
    for source in (f"npy:{tmp_path}/a.npy", f"npz:{tmp_path}/a.npz"):
        for memory in (1.0, 1e-9):
            with pytest.raises(ValueError, match=rf"Received: {value!s} in row 17,".replace("+", "[+]")), pipeline_errors():
                data = training.load(source, memory_gib=memory)
                [*data.train.batches(), *data.test.batches()]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("digit", "Try digits[.]"),
        ("Digist", "Try digits[.]"),
        ("minst", "Try mnist[.]"),
        ("cifar-10", "Try cifar10 or"),
        ("cancer", "Try digits or mnist[.]"),
        ("csv:cancer.csv", r"Try its numbers as an array: numpy.savez.* you read cancer.csv with, then npz:data.npz"),
        ("table.parquet", "you read table.parquet with"),
        ("data/x.npy", "Try npy:data/x.npy"),
        ("numpy:x.npz", "Try npz:x.npz"),
        ("tests", "Expected a folder with at least 10 images"),
        ("images:tests/", "Try folder:tests/"),
        ("cats/1.JPG", "Try folder:cats"),
        ("foldr:cats", "Try folder:cats"),
        ("gs://cats/a.npz", "Try a copy on this machine, or a folder in which that is mounted"),
        ("s3:cats", "Try folder:DIR, npz:FILE or npy:FILE"),
        ("pairs:x", "Try train g2p_cmudict --dataset=pairs:x"),
        ("no_such_thing_at_all", "Try digits or mnist"),
        ("my photos/", "folder:DIR"),
        ("", "folder:DIR"),
        ("npz:/no/such/file.npz", "a path that exists"),
        ("folder:.github-is-not-here", "a path that exists"),
    ],
)
def test_unknown_data_sets(dataset, message):
    with pytest.raises(ValueError, match=message):
        training.load(dataset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([{}] * 20), "without pickled objects"),
        (np.zeros(20), r"shape \(rows, …\)"),
        (np.zeros((4, 2)), "at least 10 rows"),
        (np.array([["a", "b"]] * 20), "Expected numbers"),
    ],
)
def test_bad_arrays(content, message, tmp_path):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        training.load(f"npy:{tmp_path}/a.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_damaged_files(name, tmp_path, digits):
    np.savez(tmp_path / "a.npz", x=digits[:50])
    np.save(tmp_path / "a.npy", digits[:50])
    whole = (tmp_path / name).read_bytes()
    for kept in (0, 100, len(whole) // 2):
        (tmp_path / name).write_bytes(whole[:kept])
        with pytest.raises(ValueError, match="Expected a NumPy file"):
            training.load(f"{name[-3:]}:{tmp_path / name}")


def test_a_broken_image_and_an_empty_folder(folder, tmp_path):
    (folder / "cat" / "1.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"Expected an image.*1.png"):
        training.load(f"folder:{folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="at least 10 images"):
        training.load(f"folder:{tmp_path / 'empty'}")


def test_files_that_users_did_not_put_there_are_ignored(folder):
    plain = training.load(f"folder:{folder}")
    picture = (folder / "cat" / "1.png").read_bytes()
    hidden = [
        ".ipynb_checkpoints/1.png",
        "cat/.ipynb_checkpoints/1.png",
        "cat/.hidden.png",
        "__MACOSX/cat/1.png",
        "@eaDir/1.png",
    ]
    for name in hidden:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture)
    for name in ("._1.png", "cat/._1.png", "Thumbs.db", "cat/desktop.ini"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "empty").mkdir()
    (folder / "folder.png").mkdir()
    (folder / "cat" / "loop").symlink_to(folder)
    (folder / "twice").symlink_to(folder / "cat")
    cleaned = training.load(f"folder:{folder}")
    assert cleaned.classes == plain.classes
    for split in ("train", "test"):
        np.testing.assert_array_equal(_read(cleaned.splits[split])["id"], _read(plain.splits[split])["id"])


def test_a_hidden_folder_that_is_named_is_read(folder, tmp_path):
    folder.rename(tmp_path / ".images")
    (tmp_path / ".images" / "cat").rename(tmp_path / "cats")
    (tmp_path / ".images" / "cat").symlink_to(tmp_path / "cats")
    assert training.load(f"folder:{tmp_path}/.images").classes == ("cat", "dög")


def test_names_as_file_systems_have_them(folder):
    os.rename(folder / "cat" / "1.png", os.fsencode(folder / "cat") + b"/caf\xe9.png")
    (folder / "cat" / "3.png").rename(folder / "cat" / "3.PNG")
    data = training.load(f"folder:{folder}")
    ids = {name for split in data.splits.values() for name in _read(split)["id"]}
    assert len(ids) == 40 and {"cat/caf\\xe9.png", "cat/3.PNG"} <= ids


@pytest.mark.parametrize(
    ("name", "message"),
    [("scan.tiff", "a file of another format"), ("photo.HEIC", "a file of another format"), ("gone.png", "No such file")],
)
def test_pictures_that_are_not_read_are_named(folder, name, message):
    if name == "gone.png":
        (folder / "dög" / name).symlink_to(folder / "nowhere")
    else:
        Image.new("L", (12, 10)).save(folder / "dög" / name, "TIFF")
    with pytest.raises(ValueError, match=rf"Expected an image .*{message}.*dög/{name}"):
        training.load(f"folder:{folder}")


def test_a_catalogue_name_without_copy_or_network_fails_soon(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(training.data.catalogue, "DOWNLOAD_HOST", ("localhost", 9))  # nothing listens there
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"'mnist' prepared in .* or a network"):
        training.load("mnist")
    assert time.monotonic() - start < 10


def test_static_pixels_are_drawn_once_and_dynamic_ones_in_every_epoch():
    grey, static, dynamic = (training.load("digits", binarize=kind) for kind in ("none", "static", "dynamic"))
    x = grey.train.arrays["x"]
    drawn = static.train.arrays["x"]
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_array_equal(drawn[(x == 0) | (x == 1)], x[(x == 0) | (x == 1)])
    assert np.abs(drawn.mean(axis=0) - x.mean(axis=0)).max() < 0.05
    np.testing.assert_array_equal(static.test.arrays["x"], dynamic.test.arrays["x"])
    np.testing.assert_array_equal(static.test.arrays["grey"], grey.test.arrays["x"])
    batches = [np.stack(list(dynamic.train.training(1437, 1, range(epoch, epoch + 1)))) for epoch in (0, 1, 0)]
    np.testing.assert_array_equal(batches[0], batches[2])
    assert set(np.unique(batches[0])) == {0, 1} and np.abs(batches[0] - batches[1]).max() == 1
    passes = [np.concatenate([rows["x"] for rows in dynamic.train.batches()]) for _ in range(2)]
    np.testing.assert_array_equal(*passes)


def test_only_probabilities_are_binarized(tmp_path, digits):
    np.save(tmp_path / "a.npy", 16 * digits)
    for kind in ("static", "dynamic"):
        with pytest.raises(ValueError, match=r"Expected values in \[0, 1\] to binarize"):
            training.load(f"npy:{tmp_path}/a.npy", binarize=kind)


def test_a_class_is_left_out_of_all_but_the_test_split():
    data = training.load("digits", validation=0.2, left_out=4)
    assert 4 not in data.train.arrays["label"] and 4 not in data.validation.arrays["label"]
    assert 4 in data.test.arrays["label"] and data.train.size == len(data.train.arrays["x"])
    with pytest.raises(ValueError, match="class to leave out"):
        training.load("digits", left_out=10)
    with pytest.raises(ValueError, match="class to leave out"):
        training.load("digits", memory_gib=1e-6, left_out=1)


def test_few_labels_are_as_many_of_each_class_and_drawn_by_the_seed():
    data = training.load("digits")
    few = [targeted(data, "label", 50, seed).train for seed in (0, 0, 1)]
    for split in few:
        ids, rows = np.unique(split.arrays["id"], return_index=True)
        assert len(ids) == 50 and split.size == 1000
        np.testing.assert_array_equal(np.bincount(split.arrays["target"][rows]), 5)
    np.testing.assert_array_equal(few[0].arrays["id"], few[1].arrays["id"])
    assert set(few[0].arrays["id"]) != set(few[2].arrays["id"])
    assert targeted(data, "label").train.size == data.train.size
    with pytest.raises(ValueError, match="at most the 1,438 rows"):
        targeted(data, "label", 2000)


def test_the_slant_of_a_line():
    for slope in (-0.5, 0.0, 0.25, 1.0):
        image = np.zeros((1, 41, 81, 1))
        for row in range(41):
            image[0, row, round(40 + slope * (20 - row))] = 1
        assert slant(image)[0] == pytest.approx(slope, abs=0.02)
    with pytest.raises(ValueError, match="Expected images"):
        slant(np.zeros((3, 8)))


def test_targets_go_with_their_rows():
    data = targeted(training.load("digits"), "label")
    by_image = {x.tobytes(): label for x, label in zip(data.train.arrays["x"], data.train.arrays["target"], strict=True)}
    for x, target in data.train.training(100, 3, range(1)):
        assert [by_image[row.tobytes()] for row in x.numpy()] == target.numpy().tolist()


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    labels = np.array(["10", "2", "1", "2", "10", "1"] * 5)
    np.savez(tmp_path / "a.npz", x=np.arange(30.0)[:, None], y=labels)
    data = training.load(f"npz:{tmp_path}/a.npz")
    assert data.classes == ("1", "2", "10")
    for rows in (split.arrays for split in data.splits.values()):
        assert [data.classes[number] for number in rows["label"]] == labels[rows["x"][:, 0].astype(int)].tolist()


def test_a_data_set_is_written_as_pictures_and_read_again(tmp_path):
    digits = training.load("digits", validation=0.1)
    arrays.write(digits, tmp_path / "pictures")
    again = training.load(str(tmp_path / "pictures"))
    assert again.schema == digits.schema
    written = {"train": (digits.train, digits.validation), "test": (digits.test,)}
    for name, parts in written.items():
        expected = np.concatenate([part.arrays["x"] for part in parts])
        read = again.splits[name].arrays["x"]
        assert len(read) == len(expected)
        ink = [np.sort(x.sum(axis=(1, 2, 3))) for x in (read, expected)]  # in whatever order
        np.testing.assert_allclose(*ink, atol=64 / 510)
