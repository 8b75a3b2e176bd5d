"""One request for every verb of every model in a directory, through a real server and the client."""

import pathlib
from collections.abc import Iterator

import numpy as np

from serving.client import Client
from serving.process import Server

ROWS = 3


def check(directory: str) -> None:
    """Starts the embedded server on `directory`, prints what each verb answers on the exported sample, stops the server.

    Raises:
        RuntimeError: the server did not start, or refused a request.
    """
    samples = {path.parents[2].name: path for path in sorted(pathlib.Path(directory).glob("*/*/assets.extra/sample.npz"))}
    with Server(directory) as server:
        for model, path in samples.items():
            print(f"{model} at {server.url}/v1/models/{model}", flush=True)
            with Client(server.url, model) as client, np.load(path) as sample:
                for verb, sent, answer in ask(client, sample["x"][:ROWS]):
                    print(f"  {verb:<12} {sent.shape!s:>16} -> {answer.shape!s:<16} {_range(answer)}")
    print("Server stopped.")


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
