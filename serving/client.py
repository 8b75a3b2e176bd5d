"""A client of the REST API, NumPy in and out. It needs neither TensorFlow nor Keras where it runs."""

import json

import httpx
import numpy as np
import orjson
from numpy.typing import ArrayLike

DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_INT64": "int64"}


class ServerError(RuntimeError):
    """The server refused a request or failed on it; `status` is the HTTP code."""

    def __init__(self, status: int, message: str):
        super().__init__(f"{message} (HTTP {status})")
        self.status = status


class Client:
    """The verbs of one served model, on the embedded server or TensorFlow Serving.

    Args:
        url: of the server, `http://localhost:8501`.
        model: its name on the server.
        version: the latest unless given.
        timeout: of one request, seconds.

    Raises, from every verb:
        ServerError: the server says no: its status and its words.
        httpx.TransportError: no server there, or none that answers in time.
    """

    def __init__(self, url: str, model: str, version: int | None = None, timeout: float = 60.0):
        path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "")
        self._http = httpx.Client(base_url=url.rstrip("/") + path, timeout=timeout)
        self._signatures: dict | None = None

    def encode(self, x: ArrayLike) -> np.ndarray:
        """Data `(B, *shape)` to codes `(B, k)`."""
        return self._call("encode", x)

    def decode(self, code: ArrayLike) -> np.ndarray:
        """Codes `(B, k)` to data `(B, *shape)`."""
        return self._call("decode", code)

    def reconstruct(self, x: ArrayLike) -> np.ndarray:
        """Data `(B, *shape)` to their reconstructions, of the same shape."""
        return self._call("reconstruct", x)

    def generate(self, seed: ArrayLike) -> np.ndarray:
        """New data `(B, *shape)`, one for each integer seed `(B,)`."""
        return self._call("generate", seed)

    def score(self, x: ArrayLike) -> np.ndarray:
        """log p(x) or its bound in nats, `(B,)`; higher is more typical."""
        return self._call("score", x)

    @property
    def signatures(self) -> dict:
        """The served signatures by name, as the server's metadata give them."""
        if self._signatures is None:
            metadata = _answer(self._http.get("/metadata"))
            self._signatures = metadata["metadata"]["signature_def"]["signature_def"]
        return self._signatures

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _call(self, verb: str, value) -> np.ndarray:
        if verb not in self.signatures:
            raise ServerError(404, f"Expected a signature of this model: {', '.join(self.signatures)}. Received: {verb}.")
        inputs, outputs = self.signatures[verb]["inputs"], self.signatures[verb]["outputs"]
        value = np.ascontiguousarray(value)
        if _dtype(inputs).startswith("float"):
            value = value.astype(_dtype(inputs))  # shorter in JSON; integers go as they are, for the server to check
        request = {"signature_name": verb, "inputs": value}
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            body = json.dumps(request, default=np.ndarray.tolist).encode()  # writes NaN, where orjson writes null
        else:
            body = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
        # A colon in a relative URL would start a scheme: the verb goes onto the whole address.
        answer = _answer(self._http.post(f"{str(self._http.base_url).rstrip('/')}:predict", content=body))
        return np.asarray(answer["outputs"], dtype=_dtype(outputs))


def _dtype(tensors: dict) -> str:
    (tensor,) = tensors.values()
    return DTYPES[tensor["dtype"]]


def _answer(response: httpx.Response) -> dict:
    try:
        answer = response.json()  # takes NaN, which orjson does not
    except ValueError:
        answer = {"error": f"Expected JSON. Received: {response.text[:200]!r}."}
    if response.is_error or "error" in answer:
        raise ServerError(response.status_code, answer.get("error", response.reason_phrase))
    return answer
