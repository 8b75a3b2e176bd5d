"""One request for every verb of every model in a directory, through a real server and the client."""

import pathlib
from collections.abc import Iterator

import numpy as np

from serving.client import Client
from serving.process import Server

ROWS = 3


def check(directory: str) -> None:
    """Starts the embedded server on `directory`, prints what each verb answers on the exported sample, or on
    generated data where a model has none, stops the server.

    Raises:
        RuntimeError: the server did not start, or refused a request.
    """
    with Server(directory) as server:
        for model, path in _latest(pathlib.Path(directory)).items():
            print(f"{model} at {server.url}/v1/models/{model}", flush=True)
            with Client(server.url, model) as client:
                for verb, sent, answer in ask(client, _rows(client, path)):
                    print(f"  {verb:<12} {sent.shape!s:>16} -> {answer.shape!s:<16} {_range(answer)}")
    print("Server stopped.")


def _latest(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """The path of the highest version by model."""
    versions = [path.parent for path in directory.glob("*/*/saved_model.pb") if path.parent.name.isdigit()]
    return {path.parent.name: path for path in sorted(versions, key=lambda path: int(path.name))}


def _rows(client: Client, path: pathlib.Path) -> np.ndarray:
    """Some of the exported sample, or of what the model generates where it has none."""
    sample = path / "assets.extra" / "sample.npz"
    if not sample.exists():
        return client.generate(np.arange(ROWS))
    with np.load(sample) as arrays:
        return arrays["x"][:ROWS]


def ask(client: Client, x: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields verb, request and answer for each of the five verbs, on data `(B, *shape)`."""
    code = client.encode(x)
    seeds = np.arange(len(x), dtype="int32")
    yield "encode", x, code
    yield "decode", code, client.decode(code)
    yield "reconstruct", x, client.reconstruct(x)
    yield "generate", seeds, client.generate(seeds)
    yield "score", x, client.score(x)


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3g} … {values.max():.3g}"
