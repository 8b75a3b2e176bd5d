"""The `check` command: one request to every verb of every model in a directory, through the server and the client."""

import pathlib
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np

from serving.client import Client
from serving.process import Server
from serving.versions import SAVED_MODEL, numbered

ROWS = 3
MANY = 4  # answers by name, of which not all are shown


def check(directory: str) -> None:
    """Starts the embedded server on `directory`, prints the shapes of each verb's outputs for the exported sample, or for
    generated data if a model has no sample, and stops the server.

    Raises:
        RuntimeError: the server did not start, or refused a request.
    """
    with Server(directory) as server:
        for model, path in _latest(pathlib.Path(directory)).items():
            print(f"{model} at {server.url}/v1/models/{quote(model, safe='')}", flush=True)
            with Client(server.url, model) as client:
                for verb, sent, answers in ask(client, _rows(client, path)):
                    for name, answer in _shown(answers).items():
                        print(f"  {verb:<15} {_shape(sent[0])!s:>16} -> {name:<11} {answer.shape!s:<16} {_range(answer)}")
    print("Server stopped.")


def _latest(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """The path of the highest version of each model, as the server finds them."""
    found = {}
    for base in sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")):
        complete = [version for version in numbered(base).values() if (version / SAVED_MODEL).exists()]
        if complete:
            found[base.name] = complete[-1]
    return found


def _rows(client: Client, path: pathlib.Path) -> dict[str, np.ndarray]:
    """Some rows of the exported sample, or generated ones if there is no sample."""
    sample = path / "assets.extra" / "sample.npz"
    if not sample.exists():
        return {"x": client.generate(np.arange(ROWS))}
    with np.load(sample) as arrays:
        if client.columns:
            return {"rows": {name: arrays[name][:ROWS] for name in arrays}}
        return {name: arrays[name][:ROWS] for name in ("x", "label", "source", "target") if name in arrays}


def ask(client: Client, rows: dict[str, np.ndarray]) -> Iterator[tuple[str, list[np.ndarray], dict[str, np.ndarray]]]:
    """Yields verb, arguments and outputs by name for each verb of the model. `rows` are data `x` `(B, *shape)`, with `label` if
    the model takes labels, texts `source` and `target` `(B,)`, or `rows` of a table, a dict of columns; `decode` gets the codes
    of x."""
    first = next(iter(rows.values()))
    count = len(next(iter(first.values())) if isinstance(first, dict) else first)
    ones, integers = np.ones(count, "float32"), np.arange(count, dtype="int32")
    values = {
        "label": 0 * integers,
        "seed": integers,
        "seed_": integers,  # where a column of a table is called seed
        "length_penalty": ones,
        "temperature": ones,
        "top_k": integers,
        "top_p": ones,
        **rows,
    }
    verbs = [verb for verb in client.signatures if hasattr(client, verb)]
    for verb in sorted(verbs, key=lambda verb: (verb != "encode", verb)):
        inputs = [values[name] for name in client.order(verb)]
        answer = getattr(client, verb)(*inputs)
        answers = answer if isinstance(answer, dict) else dict.fromkeys(client.signatures[verb]["outputs"], answer)
        if verb == "encode":
            values["code"] = answer
        yield verb, inputs, answers


def _shown(answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers; of many columns the first, and how many more there are."""
    first = next(iter(answers))
    return answers if len(answers) <= MANY else {f"{first}, {len(answers) - 1} more": answers[first]}


def _shape(values: np.ndarray | dict[str, np.ndarray]) -> tuple[int, ...]:
    return (len(next(iter(values.values()))), len(values)) if isinstance(values, dict) else values.shape


def _range(values: np.ndarray) -> str:
    if values.dtype.kind == "U":
        return repr(str(values.flat[0]))
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return f"{known.min():.3g} … {known.max():.3g}" if known.size else "nothing but NaN"
