"""What a deployment consists of: templates, filled in for the exported models."""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import re
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from serving.tfserving import folder
from serving.tfserving.exports import Export, exports

TEMPLATES = pathlib.Path(__file__).parent / "templates"
TARGETS = {  # the folders of templates that each has
    "compose": ("any", "front", "compose"),
    "kubernetes": ("any", "front", "cluster", "kubernetes"),
    "kserve": ("any", "cluster", "kserve"),
}
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")  # of services in Kubernetes (RFC 1035), with room for -envoy and the like
IMAGE = re.compile(r"[\w.:/@-]+")
IMAGES = {
    "envoy": "envoyproxy/envoy:distroless-v1.40.0",
    "prometheus": "prom/prometheus:v3.5.0",
    "grafana": "grafana/grafana:12.1.0",
}
FAILURES = "UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNAVAILABLE|DATA_LOSS"  # statuses that are not the client's
MEMORY = 0.5  # GiB of a server without models
LOADED = 4  # memory for a model, in sizes of its files: while versions change it is loaded twice


class Target(NamedTuple):
    """Where models are deployed to.

    Attributes:
        kind: `compose`, `kubernetes` or `kserve`.
        name: of the deployment; that of the model, or `models` for several, unless given.
        image: name of the image that is built for a cluster; the deployment's unless given. It gets a tag for the versions of
            the models unless it has one.
        cpus: cores for each server, which runs as many threads and batches at the same time.
    """

    kind: str
    name: str | None = None
    image: str | None = None
    cpus: int = 2


class _Template(string.Template):
    """A text with `@@{name}` where a value belongs: `$`, `{{` and `%` have a meaning in the files themselves."""

    delimiter = "@@"


def deploy(models: Iterable[str], target: Target, output: str | os.PathLike, force: bool = False) -> str:
    """Writes a folder that runs the newest versions of exported models, copied into it, in TensorFlow Serving.

    Args:
        models: folders of exported models, `NAME=PATH` for another name.
        output: the folder. It may hold files of an earlier deployment, which are replaced unless somebody has changed them.
        force: whether to replace these, too.

    Returns:
        What was written, in words.

    Raises:
        ValueError: no such models, a setting out of range, or files that were changed, unless `force`.
    """
    found = exports(models)
    values = _values(found, target)
    texts = {path: _Template(text).substitute(values) for path, text in _templates(target.kind).items()}
    copies = {f"models/{export.name}/{export.number}": export.version for export in found}
    output = pathlib.Path(output)
    change = folder.write(output, texts, copies, force)
    return _summary(change, found, output)


def _summary(change: folder.Change, found: Sequence[Export], output: pathlib.Path) -> str:
    lines = [f"Wrote {len(change.written)} files and models to {output}: {', '.join(map(str, found))}."]
    if not change.written:
        lines = [f"Nothing has changed in {output}: {', '.join(map(str, found))}."]
    if change.kept:
        lines.append(f"Kept as they have been changed: {', '.join(change.kept)}.")
    if change.overwritten:
        lines.append(f"Overwritten, though they had been changed: {', '.join(change.overwritten)}.")
    return "\n".join([*lines, f"What to do next is in {output / 'README.md'}."])


def _templates(kind: str) -> dict[str, str]:
    """The templates of a kind by the paths of what they become."""
    found = {}
    for top in (TEMPLATES / name for name in TARGETS[kind]):
        paths = sorted(path for path in top.rglob("*") if path.is_file())
        found |= {path.relative_to(top).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return found


def _values(found: Sequence[Export], target: Target) -> dict[str, object]:
    """What the templates are filled in with."""
    name = target.name or _name(found)
    if not NAME.fullmatch(name):
        raise ValueError(
            f"Expected small letters, digits and dashes, 40 at most, in the name of a deployment. Received: {name!r}. "
            "Try --name=models."
        )
    image = target.image or name
    if not IMAGE.fullmatch(image):
        raise ValueError(f"Expected the name of an image. Received: {image!r}. Try --image=REGISTRY/{name}.")
    repository, tag = image.rsplit(":", 1) if ":" in image.rpartition("/")[2] else (image, _tag(found))
    if target.cpus < 1:
        raise ValueError(f"Expected at least 1 core. Received: --cpus={target.cpus}. Try --cpus=2.")
    return {
        "name": name,
        "uid": hashlib.sha256(name.encode()).hexdigest()[:16],
        "repository": repository,
        "tag": tag,
        "push": "docker push" if "/" in repository else "kind load docker-image",  # without a registry
        "base": f"tensorflow/serving:{importlib.metadata.version('tensorflow-serving-api')}",
        "cpus": target.cpus,
        "memory": 1024 * math.ceil(MEMORY + LOADED * sum(_size(export.version) for export in found) / 2**30),  # MiB
        "user": f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "1000:1000",
        "server": "tfserving" if target.kind == "compose" else name,
        "selector": f"{'serving.kserve.io/inferenceservice' if target.kind == 'kserve' else 'app.kubernetes.io/name'}={name}",
        "configurations": "\n".join(map(_configuration, found)),
        "models": "\n".join(f"- {export}" for export in found),
        "model": quote(found[0].name),
        "failures": FAILURES,
        **IMAGES,
    }


def _name(found: Sequence[Export]) -> str:
    """A name for the deployment that Kubernetes takes."""
    name = re.sub(r"[^a-z0-9]+", "-", found[0].name.lower() if len(found) == 1 else "models").strip("-")
    return (name if name[:1].isalpha() else f"model-{name}")[:40].strip("-")


def _tag(found: Sequence[Export]) -> str:
    """Another tag for other versions: the version of one model, a checksum for several."""
    versions = "\n".join(f"{export.name}/{export.number}" for export in found)
    return found[0].number if len(found) == 1 else hashlib.sha256(versions.encode()).hexdigest()[:12]


def _size(version: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in version.rglob("*") if path.is_file())


def _configuration(export: Export) -> str:
    fields = {"name": export.name, "base_path": f"/models/{export.name}", "model_platform": "tensorflow"}
    lines = [f"    {field}: {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items()]
    return "\n".join(["  config {", *lines, "  }"])
