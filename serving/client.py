"""A client of the REST API, NumPy in and out, that needs neither TensorFlow nor Keras."""

import base64
import functools
import io
import ipaddress
import json
import os
import ssl
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import ArrayLike

from serving import rows
from serving.columns import DTYPES, NPY, NPZ, column, no_rows, npz

ARGUMENTS = ("x", "code", "label", "source", "target", "length_penalty", "seed", "temperature", "top_k", "top_p")
ROWS = "rows"  # the argument that has all columns of a table
COLUMNS = ("DT_DOUBLE", "DT_STRING")  # dtypes of the columns of a table


class ServerError(RuntimeError):
    """The server refused a request or failed; `status` is the HTTP status code."""

    def __init__(self, status: int, message: str):
        super().__init__(f"{message} (HTTP {status})")
        self.status = status


class Client:
    """The verbs of one served model, on the embedded server or TensorFlow Serving.

    Args:
        url: of the server, such as `http://localhost:8501`. Other machines are reached through the proxy of the environment.
        model: its name on the server.
        version: the latest unless given.
        timeout: of one request, in seconds.
        binary: whether to send arrays in NumPy's formats, which the embedded server reads several times faster than JSON;
            TensorFlow Serving does not read them.
        token: that the server asks for, as its `--auth_token_file` has it.
        certificates: file of those (PEM) that vouch for the server's, which is asked over HTTPS; the usual ones unless given.

    Verbs take arrays, lists, generators and tables. 8-bit integers are scaled to [0, 1], as in the zoo. For zero rows the
    outputs have zero rows. A model of tables takes rows as a dict of columns, a pandas or Polars table, or a list of dicts, in
    which None, NaN and "" are missing, and returns a dict of columns.

    Raises:
        ValueError: not the address of a server, a proxy that HTTPX cannot use, or no file of certificates.

    Raises, from every verb:
        ValueError: not numbers, or not strings, where the signature takes them.
        ServerError: the server refused the request; with its status and message.
        httpx.TransportError: there is no server, or it does not respond in time.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
        binary: bool = False,
        token: str | None = None,
        certificates: str | os.PathLike | None = None,
    ):
        server = _server(url)
        path = f"/v1/models/{quote(model, safe='')}" + ("" if version is None else f"/versions/{version}")
        base, headers = str(server).rstrip("/") + path, {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=base, timeout=timeout, headers=headers, **_transport(server, _trusted(certificates)))
        self._binary = binary
        self._signatures: dict | None = None
        self._columns: dict[str, str] | None = None

    # A verb takes NumPy arrays, sequences of strings for texts, or rows of a table. It returns an array, or a dict of arrays
    # for a signature with several outputs, or of a table's columns.

    def encode(self, x: ArrayLike) -> np.ndarray:
        """Data `(B, *shape)`, or texts `(B,)`, to codes `(B, k)`."""
        return self._call("encode", x)

    def decode(self, *code: ArrayLike) -> np.ndarray:
        """Codes `(B, k)` to data `(B, *shape)`; of a transformer, source and target to log p of each token."""
        return self._call("decode", *code)

    def reconstruct(self, x: ArrayLike) -> np.ndarray | dict[str, np.ndarray]:
        """Data `(B, *shape)` to their reconstructions, of the same shape; of a transformer, the same as `generate`; rows of a
        table with their missing cells filled in."""
        return self._call("reconstruct", x)

    def reconstruct_all(self, x: Any) -> dict[str, np.ndarray]:
        """Rows of a table as the model would expect every cell."""
        return self._call("reconstruct_all", x)

    def generate(self, seed: ArrayLike) -> np.ndarray | dict[str, np.ndarray]:
        """New data `(B, *shape)`, one for each integer seed `(B,)`; of a transformer, `target`, `score` and `unknown` `(B,)`
        for each source `(B,)`."""
        return self._call("generate", seed)

    def score(self, *x: ArrayLike) -> np.ndarray:
        """log p(x) or a bound on it in nats, `(B,)`; of a transformer, log p(target | source). Higher is more typical."""
        return self._call("score", *x)

    def typicality(self, x: ArrayLike) -> np.ndarray:
        """The share of held-out data that score lower than each x, in [0, 1], `(B,)`, by a model that keeps their scores."""
        return self._call("typicality", x)

    def score_cells(self, x: Any) -> dict[str, np.ndarray]:
        """How much less probable each cell of a table is than the most probable value, in nats; NaN where it is missing."""
        return self._call("score_cells", x)

    def score_code(self, x: ArrayLike) -> np.ndarray:
        """Log p of the codes under the prior, in nats, `(B,)`; higher is more typical."""
        return self._call("score_code", x)

    def generate_class(self, label: ArrayLike, seed: ArrayLike) -> np.ndarray:
        """New data `(B, *shape)` of the classes `(B,)`, one for each seed `(B,)`, by a model with class labels."""
        return self._call("generate_class", label, seed)

    def generate_given(self, x: Any, seed: ArrayLike) -> dict[str, np.ndarray]:
        """Rows of a table with their missing cells drawn, one for each seed `(B,)`."""
        return self._call("generate_given", x, seed)

    def vary(self, x: ArrayLike, seed: ArrayLike) -> np.ndarray:
        """Variations of x, `(B, *shape)`, decoded from draws of its posterior, by a variational autoencoder."""
        return self._call("vary", x, seed)

    def classify(self, x: ArrayLike) -> np.ndarray:
        """Data `(B, *shape)` to class probabilities `(B, C)`, by a classifier."""
        return self._call("classify", x)

    def regress(self, x: ArrayLike) -> np.ndarray:
        """Data `(B, *shape)` to the predicted numbers `(B,)`, by a regressor."""
        return self._call("regress", x)

    def encode_states(self, source: Sequence[str]) -> np.ndarray:
        """Texts `(B,)` to the states of their tokens, `(B, length + 1, width)`, by a transformer."""
        return self._call("encode_states", source)

    def next(self, source: Sequence[str], target: Sequence[str]) -> dict[str, np.ndarray]:
        """The likeliest next tokens after the targets `(B,)`: `token` and `probability` `(B, choices)`, by a transformer."""
        return self._call("next", source, target)

    def generate_beam(self, source: Sequence[str], length_penalty: ArrayLike) -> dict[str, np.ndarray]:
        """The best targets for each source, `target` and `score` `(B, beams)`, and `unknown` `(B,)`, by a transformer."""
        return self._call("generate_beam", source, length_penalty)

    def generate_sample(
        self, source: Sequence[str], seed: ArrayLike, temperature: ArrayLike, top_k: ArrayLike, top_p: ArrayLike
    ) -> dict[str, np.ndarray]:
        """A target drawn at random for each source, `target`, `score` and `unknown` `(B,)`, by a transformer."""
        return self._call("generate_sample", source, seed, temperature, top_k, top_p)

    def attend(self, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
        """Attention weights `(B, heads, target length + 1, source length + 1)`, by a transformer."""
        return self._call("attend", source, target)

    @property
    def signatures(self) -> dict:
        """The served signatures by name, from the server's metadata."""
        if self._signatures is None:
            metadata = _answer(self._http.get("/metadata"))
            signatures = metadata["metadata"]["signature_def"]["signature_def"]
            self._signatures = {name: signature for name, signature in signatures.items() if signature.get("inputs")}
        return self._signatures

    @property
    def schema(self) -> dict[str, dict]:
        """What the model's data hold, by the name of the input: `type` (image, array, text, class or number, or that of a
        table's column), `shape`, `range` in training, names of the `classes`, size and greatest length of the `vocabulary`, the
        `format` of dates, the share of `missing` cells and the like, as far as they are known.

        Only the embedded server tells; TensorFlow Serving answers 404, a ServerError.
        """
        return _answer(self._http.get("/schema"))["schema"]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _call(self, verb: str, *values) -> np.ndarray | dict[str, np.ndarray]:
        if verb not in self.signatures:
            raise ServerError(404, f"Expected a signature of this model: {', '.join(self.signatures)}. Received: {verb}.")
        outputs, columns = self.signatures[verb]["outputs"], self._inputs(verb, values)
        names = [name for name in dict.fromkeys([*self.columns, *outputs]) if name in outputs]
        dtypes = {name: DTYPES[outputs[name]["dtype"]] for name in names}
        several = len(outputs) > 1 or verb == "score_cells" or (self.columns and outputs[names[0]]["dtype"] in COLUMNS)
        count = next((len(value) for value in columns.values() if value.ndim), None)
        if count is not None:  # a single number is used for every row, as in Python
            columns = {name: value if value.ndim else np.full(count, value) for name, value in columns.items()}
        if all(value.shape[:1] == (0,) for value in columns.values()):  # JSON cannot carry the shape of zero rows
            arrays = {name: np.zeros(no_rows(outputs[name]), dtype) for name, dtype in dtypes.items()}
            return arrays if several else arrays.popitem()[1]
        answer = self._post_binary(verb, columns) if self._binary else self._post(verb, columns)
        answers = answer if len(outputs) > 1 else dict.fromkeys(outputs, answer)
        arrays = {name: np.asarray(_plain(answers[name]), dtype) for name, dtype in dtypes.items()}
        return arrays if several else arrays.popitem()[1]

    def _inputs(self, verb: str, values: Sequence) -> dict[str, np.ndarray]:
        """The arrays of a signature's inputs, from the arguments of the verb."""
        inputs, given = self.signatures[verb]["inputs"], dict(zip(self.order(verb), values, strict=True))
        if ROWS not in given:
            return {name: column(name, value, inputs[name]) for name, value in given.items()}
        table = rows.columns(given.pop(ROWS), self.columns, lambda name: self._features.get(name, {}))
        return table | {name: column(name, value, inputs[name]) for name, value in given.items()}

    def _post(self, verb: str, columns: dict[str, np.ndarray]) -> list | dict[str, list]:
        request = {"signature_name": verb, "inputs": columns}
        if not all(np.isfinite(value).all() for value in columns.values() if value.dtype.kind == "f"):
            body = json.dumps(request, default=np.ndarray.tolist).encode()  # writes NaN, where orjson writes null
        else:
            body = orjson.dumps(request, default=np.ndarray.tolist, option=orjson.OPT_SERIALIZE_NUMPY)
        return _answer(self._http.post(self._predict, content=body))["outputs"]

    def _post_binary(self, verb: str, columns: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        if len(columns) == 1:
            file = io.BytesIO()
            np.save(file, next(iter(columns.values())))
            body = file.getvalue()
        else:
            body = npz(columns)
        headers = {"content-type": NPY if len(columns) == 1 else NPZ, "accept": f"{NPY}, {NPZ}"}
        query = {"signature_name": verb}
        response = self._http.post(self._predict, params=query, content=body, headers=headers)
        kind = response.headers.get("content-type", "").partition(";")[0]
        if response.is_error or kind not in (NPY, NPZ):
            return _answer(response)["outputs"]
        answer = np.load(io.BytesIO(response.content))
        return answer if kind == NPY else dict(answer)

    @property
    def _predict(self) -> str:
        # In a relative URL a colon would end a scheme, so the verb is appended to the full address.
        return f"{str(self._http.base_url).rstrip('/')}:predict"

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a model of tables, each with `float64` or `str`; none of another model."""
        if self._columns is None:
            tensors = [item for signature in self.signatures.values() for item in signature["inputs"].items()]
            dtypes = {name: DTYPES[tensor["dtype"]] for name, tensor in tensors if tensor["dtype"] in COLUMNS}
            is_table = "score_cells" in self.signatures or "float64" in dtypes.values()
            self._columns = {name: dtypes[name] for name in [*self._features, *dtypes] if name in dtypes} if is_table else {}
        return self._columns

    @functools.cached_property
    def _features(self) -> dict[str, dict]:
        """The schema, in the order of the table, or nothing where the server does not tell."""
        try:
            return self.schema
        except ServerError:
            return {}

    def order(self, verb: str) -> list[str]:
        """Names of a verb's inputs in the order of its arguments, which metadata do not preserve; `rows` are all columns of a
        table."""
        inputs = self.signatures[verb]["inputs"]
        others = [name for name, tensor in inputs.items() if not self.columns or tensor["dtype"] not in COLUMNS]
        others.sort(key=lambda name: ARGUMENTS.index(name.rstrip("_")))  # `seed_` beside a column called seed
        return [ROWS, *others] if len(others) < len(inputs) else others


def _plain(values: list | np.ndarray) -> list | np.ndarray:
    """Texts of a column that ends in `_bytes`, which servers take for bytes, as texts; other values as they are."""
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return [base64.b64decode(value["b64"]).decode("utf-8", "replace") for value in values]
    return values


def _server(url: str) -> httpx.URL:
    try:
        server = httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL:
        server = httpx.URL()
    if server.scheme not in ("http", "https") or not server.host or server.query or server.fragment:
        raise ValueError(f"Expected the address of a server. Received: {url}. Try http://localhost:8501.")
    return server


def _trusted(certificates: str | os.PathLike | None) -> ssl.SSLContext | bool:
    if certificates is None:
        return True
    try:
        return ssl.create_default_context(cafile=certificates)
    except (OSError, ssl.SSLError) as problem:
        raise ValueError(f"Expected a file of certificates (PEM). Received: {certificates} ({problem.strerror}).") from None


def _transport(server: httpx.URL, trusted: ssl.SSLContext | bool) -> dict:
    """The transport for HTTPX: direct for this machine and those in NO_PROXY, else through the proxy of the environment."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if not proxy or _is_here(server.host) or urllib.request.proxy_bypass(server.netloc.decode()):
        return {"transport": httpx.HTTPTransport(verify=trusted)}  # given a transport, HTTPX ignores the environment
    try:
        proxy_url = proxy if "://" in proxy else f"http://{proxy}"
        return {"transport": httpx.HTTPTransport(verify=trusted, proxy=proxy_url)}
    except (ValueError, ImportError, httpx.InvalidURL) as problem:
        raise ValueError(
            f"Expected a proxy that HTTPX can use. Received: {proxy.rpartition('@')[2]} from the environment ({problem}). "
            f"Try NO_PROXY={server.host}."
        ) from None


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _answer(response: httpx.Response) -> dict:
    try:
        answer = response.json()  # accepts NaN, which orjson does not
    except ValueError:
        answer = {"error": f"Expected JSON. Received: {response.text[:200]!r}."}
    if response.is_error or "error" in answer:
        raise ServerError(response.status_code, answer.get("error", response.reason_phrase))
    return answer
