"""The OpenAPI document of the served models, and a page to try them."""

import importlib.metadata
import pathlib
import urllib.parse

from serving.models import examples, inference, schemas
from serving.models.models import Models
from serving.models.servable import Endpoint, Servable, TensorSpec
from serving.status import RequestError

MOST_CLASSES = 20  # that are named in a description
_METHODS = {"classify": inference.CLASSIFY, "regress": inference.REGRESS}
_JSON = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}


def document(models: Models) -> dict:
    """The OpenAPI document of the models that are available now."""
    paths = {"/v1/models": {"get": _get("The models and the states of their versions")}}
    for name in sorted(models.names):
        base = f"/v1/models/{urllib.parse.quote(name, safe='')}"
        paths[base] = {"get": _get(f"States of the versions of {name}")}
        try:
            servable = models.get(name)
        except RequestError:  # none of its versions is available
            continue
        paths[f"{base}/metadata"] = {"get": _get(f"Signatures of {name}")}
        paths[f"{base}/schema"] = {"get": _get(f"What the data of {name} hold: types, shapes, ranges, classes")}
        paths[f"{base}:predict"] = {"post": _predict(name, servable)}
        for verb, method in _METHODS.items():
            if signatures := sorted(each for each, found in servable.endpoints.items() if found.method == method):
                paths[f"{base}:{verb}"] = {"post": _of_examples(name, verb, signatures)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Served models", "version": importlib.metadata.version("latent-zoo")},
        "paths": paths,
    }


def _get(summary: str) -> dict:
    return {"summary": summary, "responses": {"200": _answer({"type": "object"}), "404": _answer(_ERROR)}}


def _predict(name: str, servable: Servable) -> dict:
    verbs = dict(sorted(servable.endpoints.items()))
    known = schemas.schema(servable.path)
    signatures = [_request(verb, endpoint, known) for verb, endpoint in verbs.items()]
    requests = {verb: {"value": request} for verb, request in sorted(examples.examples(servable).items())}
    outputs = {"type": "object", "properties": {"outputs": {}, "predictions": {}}}
    summary = f"Runs a signature of {name}, on columns (inputs) or rows (instances)"
    return _post(summary, {"schema": {"oneOf": signatures}, "examples": requests}, outputs)


def _of_examples(name: str, verb: str, signatures: list[str]) -> dict:
    request = {
        "type": "object",
        "properties": {
            "signature_name": {"enum": signatures},
            "context": {"type": "object", "description": "features that all examples have"},
            "examples": {"type": "array", "items": {"type": "object"}, "minItems": 1, "description": "features by name"},
        },
        "required": ["examples"],
    }
    results = {"type": "object", "properties": {"results": {"type": "array"}}}
    return _post(f"Runs a signature of {name} that can {verb} examples (tf.Example)", {"schema": request}, results)


def _post(summary: str, content: dict, answer: dict) -> dict:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": _answer(answer), **{code: _answer(_ERROR) for code in ("400", "404", "429", "504")}},
    }


_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


def _answer(schema: dict) -> dict:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def _request(verb: str, endpoint: Endpoint, schema: dict[str, dict]) -> dict:
    columns = {name: _schema(spec, spec.shape) | _words(schema.get(name)) for name, spec in endpoint.inputs.items()}
    rows = {name: _schema(spec, spec.shape and spec.shape[1:]) for name, spec in endpoint.inputs.items()}
    return {
        "title": verb,
        "type": "object",
        "properties": {
            "signature_name": {"const": verb},
            "inputs": {"type": "object", "properties": columns, "required": list(columns)},
            "instances": {"type": "array", "items": {"type": "object", "properties": rows, "required": list(rows)}},
        },
    }


def _schema(spec: TensorSpec, shape: tuple[int | None, ...] | None) -> dict:
    if shape is None:
        return {}  # anything
    if not shape:
        kind = _JSON.get(spec.dtype.kind)
        if spec.in_table:
            return {"type": [kind or "string", "null"]}
        return {"type": kind} if kind else {"oneOf": [{"type": "string"}, _BASE64]}
    size = {} if shape[0] is None else {"minItems": shape[0], "maxItems": shape[0]}
    return {"type": "array", **size, "items": _schema(spec, shape[1:])}


def _words(feature: dict | None) -> dict:
    """What is known of a feature, as the description of a column."""
    if not feature:
        return {}
    words = [feature["type"]] if "type" in feature else []
    if "range" in feature and "format" not in feature:
        low, high = feature["range"]
        words.append(f"values from {low:g} to {high:g} in training")
    if "classes" in feature:
        classes = [each if isinstance(each, str) else f"{each:g}" for each in feature["classes"]]
        words.append(f"{len(classes)} classes: {', '.join(classes[:MOST_CLASSES])}")
    if "format" in feature:
        words.append(f"as {feature['format']}")
    if feature.get("missing"):
        words.append(f"{100 * feature['missing']:.2g} % missing in training")
    if "vocabulary" in feature:
        words.append(f"at most {feature['vocabulary']['length']} tokens")
    return {"description": ", ".join(words)}


_BASE64 = {"type": "object", "properties": {"b64": {"type": "string"}}}


PAGE = pathlib.Path(__file__).with_name("docs.html").read_bytes()
