"""Files of data, compressed with a model and back: `python -m serving compress`, `decompress` and `inspect`."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import zstandard
from PIL import Image
from tqdm import tqdm

import zoo
from training.data import batches, table_files, table_writers
from training.data.lines import pairs
from training.data.written import Column
from training.run import trained
from zoo import compression, files, inputs, presets
from zoo.autoencoder import Autoencoder
from zoo.coding import container
from zoo.coding.pairs import Pairs
from zoo.model import Model
from zoo.rows import Raw
from zoo.schema import Schema
from zoo.tables import TableAutoencoder
from zoo.transformer import Transformer

MODES = {1: ("L", "1"), 3: ("RGB",)}  # Pillow's, by channels
PICTURES = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".jpg", ".jpeg")
TEXTS = (".tsv", ".txt")
ZSTD_LEVEL = 19


def compress(
    model: str, inputs: Sequence[str], output: str, portable: bool = True, lossy: bool = False, particles: int = 1
) -> str:
    """Writes a compressed file of arrays, folders of pictures, tables or pairs of texts, one after another.

    Args:
        model: a preset's name, or the folder of a preset, of a run or of an export.
        inputs: `.npy` and `.npz` files, folders of pictures that have the model's height, width and channels, files of tables
            with the model's columns and no others, and of pairs of texts, as `training.data.lines.read` has them.
        output: path of the file.
        portable, lossy, particles: as `zoo.compression.compress`.

    Returns:
        What was written, and how that compares, in lines.

    Raises:
        ValueError: no such model or input; rows that cannot be compressed without loss.
    """
    coder = trained(model)
    x = read(inputs, coder)
    with _progress("compressing") as progress:
        data = compression.compress(coder, x, name_of(model), portable, lossy, particles, progress)
    files.write(output, lambda new: new.write_bytes(data))
    return "\n".join(_comparison(coder, model, x, data, output, lossy))


def decompress(file: str, output: str, model: str | None = None, rows: slice | None = None, salvage: bool = False) -> str:
    """Writes the rows of a compressed file: as a `.npy` file or, where the path has no such ending, as a folder of pictures,
    which are numbered; those of a table in the form that the path ends in; pairs of texts as lines, with a tab between the two.

    Args:
        model: as in `compress`; the preset that the file names unless given.
        rows: only these.
        salvage: leave out what is damaged, and say so on stderr.

    Returns:
        What was written.

    Raises:
        ValueError: a damaged file, another model; rows that are no pictures for a folder.
    """
    data, coder = pathlib.Path(file).read_bytes(), trained(model) if model else None
    if salvage:
        saved = compression.salvage(data, coder)
        for problem in saved.damaged.values():
            print(problem, file=sys.stderr)
        x, numbers = saved.x, saved.rows
    else:
        with _progress("decompressing") as progress:
            x = compression.decompress(data, coder, rows, progress)
        numbers = np.arange(_count(x)) + (rows.start or 0 if rows else 0)
    if isinstance(x, dict):
        coder = coder or compression.preset_of(data)
    write(x, numbers, output, coder)
    if isinstance(coder, Transformer):
        return f"Wrote {output}: {len(numbers):,} pairs of texts"
    if isinstance(x, dict):
        return f"Wrote {output}: {len(numbers):,} rows of {', '.join(x)}"
    return f"Wrote {output}: {len(x):,} rows of shape {x.shape[1:]}, {x.dtype}"


def inspect(file: str) -> str:
    """What a compressed file says of itself, in lines."""
    said = compression.inspect(pathlib.Path(file).read_bytes())
    chunks, settings = said.pop("chunks"), said.pop("settings")
    lines = [f"{name + ':':<14}{value}" for name, value in {**said, **settings}.items()]
    lines += [
        f"chunk {number}: rows {each['first']:,} to {each['first'] + each['rows'] - 1:,}, {each['bytes']:,} bytes"
        + ("" if each["whole"] else ", damaged")
        for number, each in enumerate(chunks)
    ]
    return "\n".join(lines)


def interval(text: str) -> slice:
    """The rows that `START:STOP` means, each of which may be left out.

    Raises:
        ValueError: another form.
    """
    start, colon, stop = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (start, stop)):
        raise ValueError(f"Expected START:STOP. Received: {text}. Try 0:1000.")
    return slice(*(int(part) if part else None for part in (start, stop)))


def read(inputs: Sequence[str], coder: Model) -> np.ndarray | Raw:
    """The rows of files and folders, one after another, as `compress` takes them."""
    one = _table if isinstance(coder, TableAutoencoder) else _pairs if isinstance(coder, Transformer) else _rows
    return _joined([one(pathlib.Path(each), coder) for each in inputs])


def name_of(model: str) -> str:
    """What a compressed file calls the model at a path; the versions of an export have their folder's name."""
    place = pathlib.Path(os.path.normpath(model))
    return place.parent.name if place.name.isdecimal() else place.name


def write(x: np.ndarray | Raw, numbers: np.ndarray, output: str, coder: Model | None) -> None:
    """Writes rows as `decompress` does; `numbers` name pictures. The model is needed for tables and for pairs."""
    if isinstance(coder, Transformer):
        _write_pairs(pathlib.Path(output), x)
    elif isinstance(x, dict):
        table_writers.require_ending(pathlib.Path(output))
        files.write(output, lambda new: _write_table(new, x, coder.schema))
    elif pathlib.Path(output).suffix == ".npy":
        files.write(output, lambda new: _save(new, x))
    else:
        _write_pictures(pathlib.Path(output), x, numbers)


def _rows(path: pathlib.Path, model: Autoencoder) -> np.ndarray:
    if path.is_dir():
        return _pictures(path, model.shape)
    with files.reading(path, "an .npy or .npz file, or a folder of pictures", "numpy.save"):
        arrays = np.load(path, allow_pickle=False)
        x = arrays if isinstance(arrays, np.ndarray) else arrays["x" if "x" in arrays.files else arrays.files[0]]
    return x[..., None] if x.ndim == len(model.shape) and model.shape[-1] == 1 else x


def _table(path: pathlib.Path, model: TableAutoencoder) -> Raw:
    """The raw columns of a table. A cell that is no number in a column of numbers would be lost, and is refused."""
    table, parts = table_files.open_table(str(path)), []
    for batch in table.batches():
        raw = batches.read(batch, model.schema)
        for name, count in batches.no_numbers(batch, raw).items():
            raise ValueError(
                f"Expected numbers in {name}. Received: {count:,} cells of {path} that are none. Try emptying them."
            )
        parts.append({**dict.fromkeys(table.names, ()), **raw})  # compress refuses columns that the model does not have
    return _joined(parts)


def _pairs(path: pathlib.Path, model: Transformer) -> Raw:
    """The pairs of a text file."""
    read = [*pairs(path)]
    return {name: np.array([pair[1 + side] for pair in read], str) for side, name in enumerate(("source", "target"))}


def _write_pairs(path: pathlib.Path, x: Raw) -> None:
    if path.suffix not in TEXTS:
        raise ValueError(f"Expected the path of a {' or '.join(TEXTS)} file. Received: {path}. Try {path.with_suffix('.tsv')}.")
    text = "".join(f"{source}\t{target}\n" for source, target in zip(x["source"], x["target"], strict=True))
    files.write(path, lambda new: new.write_text(text, encoding="utf-8"))


def _joined(parts: list[np.ndarray] | list[Raw]) -> np.ndarray | Raw:
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    dtypes = {part.dtype.name for part in parts}
    if len(dtypes) > 1:
        raise ValueError(f"Expected inputs of one dtype. Received: {', '.join(sorted(dtypes))}. Try a file for each.")
    return np.concatenate(parts)


def _count(x: np.ndarray | Raw) -> int:
    return len(next(iter(x.values()))) if isinstance(x, dict) else len(x)


def _write_table(path: pathlib.Path, x: Raw, schema: Schema) -> None:
    with table_writers.opened(path, [*x], [*x]) as writer:
        writer.write({}, {name: Column(values, schema[name]) for name, values in x.items()})


def _pictures(folder: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
    """All pictures in a folder, sorted by path, uint8 `(n, *shape)`. Others than of that size are refused: what changed them
    would be a loss."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    if not paths or len(shape) != 3:
        raise ValueError(f"Expected pictures of shape {shape}. Received: {len(paths)} in {folder}. Try an .npy file.")
    return np.stack([_picture(path, shape) for path in paths])


def _picture(path: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
    expected = f"a picture of {shape[1]} x {shape[0]} pixels and {shape[2]} channels"
    with files.reading(path, expected, "one that is"), Image.open(path) as picture:
        if picture.mode not in MODES[shape[2]] or picture.size != shape[1::-1]:
            raise ValueError(f"{picture.size[0]} x {picture.size[1]}, {picture.mode}")
        return np.asarray(picture.convert(MODES[shape[2]][0])).reshape(shape)


def _write_pictures(folder: pathlib.Path, x: np.ndarray, numbers: np.ndarray) -> None:
    if x.ndim != 4 or x.shape[-1] not in MODES or x.dtype not in ("uint8", "bool"):
        raise ValueError(f"Expected the path of an .npy file. Received: {folder}. Try {folder}.npy.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"Expected a new folder, or an empty one. Received: {folder}. Try another.")
    pixels = x.astype("uint8") * 255 if x.dtype == bool else x
    place = files.resolved(folder)
    with files.beside(place) as new:
        new.mkdir()
        for number, each in zip(numbers.tolist(), pixels, strict=True):
            Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each).save(new / f"{number:06d}.png")
        files.replace_folder(new, place)


def _save(path: pathlib.Path, x: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, x)


def _comparison(coder: Model, model: str, x: np.ndarray | Raw, data: bytes, output: str, lossy: bool) -> list[str]:
    size, rows = len(data), _count(x)
    values = rows * len(x) if isinstance(x, dict) else x.size
    said = [f"Wrote {output}: {rows:,} rows in {size:,} bytes, {8 * size / max(values, 1):.4f} bits a value"]
    if lossy:
        said.append(f"signal-to-noise ratio: {_decibels(x, compression.decompress(data, coder)):.2f} dB of the peak 1")
    elif isinstance(coder, Transformer):
        said.append(_parts(data, rows))
    elif coder.bottleneck.drawn:
        ideal = _bits(coder, x) / 8
        said.append(f"ideal, by the bound on log p: {ideal:,.0f} bytes; the file has {size / max(ideal, 1) - 1:+.1%}")
    other = _zstd(x)
    own = _model_bytes(coder, model)
    said.append(f"zstd -{ZSTD_LEVEL}: {other:,} bytes, {other / size:.2f} times as many")
    gain = (other - size) / max(rows, 1)
    worth = f"which pays from {int(np.ceil(own / gain)):,} rows on" if gain > 0 else "which does not pay"
    return [*said, f"the model: {own:,} bytes, {worth}"]


def _parts(data: bytes, rows: int) -> str:
    """What the sources and the targets of pairs take of a file."""
    file = container.read(data)
    parts = [Pairs.divided(file.payload(number)) for number in range(len(file.entries))]
    sources, targets = (sum(map(len, each)) for each in zip(*parts, strict=True)) if parts else (0, 0)
    return f"sources: {sources:,} bytes; targets: {targets:,} bytes, {8 * targets / max(rows, 1):.2f} bits each"


def _bits(coder: Autoencoder, x: np.ndarray | Raw) -> float:
    if isinstance(x, dict):
        return float(np.sum(coder.bits(x)))
    return sum(float(np.sum(coder.bits(part))) for part in np.array_split(x, max(1, len(x) // 1000)))


def _decibels(x: np.ndarray, again: np.ndarray) -> float:
    """−10 log₁₀ of the mean squared error of rows, which are 1 at most."""
    error = np.mean(np.square(inputs.scaled(x) - inputs.scaled(again)), dtype="float64") if x.size else 0.0
    return float(-10 * np.log10(max(error, 1e-30)))


def _zstd(x: np.ndarray | Raw) -> int:
    """Bytes of the same data under zstd, packed to bits where there are two levels, if that is shorter; of tables as CSV."""
    if isinstance(x, dict):
        lines = zip(*(values.tolist() for values in x.values()), strict=True)
        return len(
            zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress("\n".join(",".join(map(str, row)) for row in lines).encode())
        )
    forms = [x.tobytes()]
    if len(np.unique(x[:100])) <= 2 and len(np.unique(x)) <= 2:
        forms.append(np.packbits(x > 0).tobytes())
    return min(len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(form)) for form in forms)


def _model_bytes(coder: Model, model: str) -> int:
    folder = presets.FOLDER / model if model in zoo.list() else pathlib.Path(model)
    stored = folder / presets.WEIGHTS
    return stored.stat().st_size if stored.exists() else 4 * coder.count_params()


@contextlib.contextmanager
def _progress(task: str) -> Iterator[Callable[[int, int], None]]:
    with tqdm(desc=task, unit="row", leave=False, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
