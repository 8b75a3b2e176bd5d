"""The rows that contenders train on, as files in a folder."""

import pathlib

import numpy as np

TEST = 1000
TEXTS = 20_000  # of which a twentieth each is for validation and for tests
LETTERS, PHONES = "abcdefghijklmnopqrstuvwxyz'", [f"P{number}" for number in range(69)]


def write(network: str, count: int, folder: pathlib.Path) -> pathlib.Path:
    """Writes `count` rows, or pairs of texts, for a network; returns their folder, beside which an npz file for the zoo is."""
    place = folder / f"rows-{network if network == 'transformer' else count}"
    place.mkdir(parents=True, exist_ok=True)
    if network == "transformer":
        _write_texts(place)
    elif not (place / "x.npy").exists():
        x = images(count + TEST)
        np.savez(place.with_suffix(".npz"), x_train=x[:count], x_test=x[count:])
        np.save(place / "x.npy", x[:count])
    return place


def images(count: int) -> np.ndarray:
    """Images `(count, 28, 28, 1)` in [0, 1]: MNIST where TFDS has it, else scikit-learn's digits, enlarged, again and again."""
    from training.data.arrays import load

    try:
        x = load("mnist").train.arrays["x"]
    except ValueError:
        from sklearn.datasets import load_digits

        x = np.kron(load_digits().images / 16, np.ones((3, 3)))
        x = np.pad(x, ((0, 0), (2, 2), (2, 2)))[..., None].astype("float32")
    return np.resize(x, (count, *x.shape[1:]))


def _write_texts(place: pathlib.Path) -> None:
    """Pairs of random texts, as long as English words and their pronunciations, and their token numbers."""
    from training.data.pairs import load

    random, lines = np.random.default_rng(0), set()
    while len(lines) < TEXTS:
        length = max(3, int(random.binomial(18, 0.42)))
        word = "".join(random.choice([*LETTERS[:26]], length))
        lines.add(f"{word}\t{' '.join(random.choice(PHONES, max(2, length - random.integers(0, 3))))}\n")
    (place / "pairs.tsv").write_text("".join(sorted(lines)))
    data = load(f"pairs:{place / 'pairs.tsv'}")
    for side in ("source", "target"):
        np.save(place / f"{side}.npy", data.train.tokens(side))
