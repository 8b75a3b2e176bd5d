"""The examples for fleets: that they are what their engines read, and that each worker learns from them who is there."""

import importlib.util
import json
import os
import pathlib
import subprocess

import jsonschema
import pytest
import yaml
from conftest import ROOT

from training import options
from training.fitting import cluster

FLEETS = ROOT / "docs" / "fleets"
PYTHON = '#!/bin/bash\necho "$TF_CONFIG"\necho "$@"\n'
SHOWN = '#!/bin/bash\n[ "$1" = show ] && printf "host%d\\n" 0 1 2 3\n'
RUN = '#!/bin/bash\nshift; SLURM_PROCID=2 exec "$@"\n'
JOB = "GoogleCloudAiplatformV1CustomJobSpec"
READERS = {"jobset": "JobsetV1alpha2JobSet", "trainjob": "TrainerV1alpha1TrainJob"}


def container(name: str) -> dict:
    job = yaml.safe_load((FLEETS / f"{name}.yaml").read_text())
    if name == "trainjob":
        return job["spec"]["trainer"]
    jobs = job["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert jobs["completions"] == jobs["parallelism"] == 4 and jobs["completionMode"] == "Indexed"
    return jobs["template"]["spec"]["containers"][0]


def command(name: str) -> list[str]:
    if name == "slurm":
        return ["bash", str(FLEETS / "slurm.sh")]
    return [*container(name)["command"], *container(name)["args"]]


@pytest.mark.parametrize(
    ("name", "host"), [("jobset", "zoo-workers-0-3.zoo"), ("trainjob", "zoo-node-0-3.zoo"), ("slurm", "host3")]
)
def test_each_worker_learns_who_is_there(name, host, tmp_path):
    for program, text in {"python": PYTHON, "scontrol": SHOWN, "srun": RUN}.items():
        (tmp_path / program).write_text(text)
        (tmp_path / program).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": "2"}
    said = subprocess.run(command(name), env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    found = cluster.described({"TF_CONFIG": said[0]})
    assert found.index == 2 and len(found.addresses) == 4 and found.addresses[3] == f"{host}:2222"
    assert said[1].startswith("-m training train ")
    options.experiment(said[1].split()[3], {}, None, ())


def test_vertex_starts_the_same_command_everywhere():
    job = yaml.safe_load((FLEETS / "vertex.yaml").read_text())
    assert [pool["replicaCount"] for pool in job["workerPoolSpecs"]] == [1, 3]  # the first is the chief's
    for pool in job["workerPoolSpecs"]:
        assert pool["containerSpec"]["command"] == ["python", "-m", "training"] and pool["containerSpec"]["args"][0] == "train"


def schema(found: object) -> object:
    """Types of a discovery document of Google's as JSON Schema, without fields that are not there."""
    if isinstance(found, list):
        return [schema(each) for each in found]
    if not isinstance(found, dict):
        return found
    types = {key: schema(each) for key, each in found.items()}
    if "properties" in found:
        types["additionalProperties"] = False
    if isinstance(found.get("$ref"), str):
        types["$ref"] = f"#/$defs/{found['$ref']}"
    return types | ({"type": ["integer", "string"]} if found.get("format") == "int64" else {})


def test_vertex_reads_what_is_there():
    package = importlib.util.find_spec("googleapiclient")
    if package is None:
        pytest.skip("the types are in google-api-python-client")
    path = pathlib.Path(package.submodule_search_locations[0], "discovery_cache", "documents", "aiplatform.v1.json")
    types = {"$defs": schema(json.loads(path.read_bytes())["schemas"]), "$ref": f"#/$defs/{JOB}"}
    job = yaml.safe_load((FLEETS / "vertex.yaml").read_text())
    reader = jsonschema.Draft202012Validator(types)
    reader.validate(job)
    job["workerPoolSpecs"][1]["containerSpec"]["image"] = "IMAGE"
    with pytest.raises(jsonschema.ValidationError, match="'image' was unexpected"):
        reader.validate(job)


@pytest.mark.parametrize("name", READERS)
def test_kubernetes_reads_what_is_there(name):
    models = pytest.importorskip("kubeflow_trainer_api.models")
    job = yaml.safe_load((FLEETS / f"{name}.yaml").read_text())
    read = getattr(models, READERS[name]).from_dict(job)
    assert read.to_dict() == job  # unknown fields would be missing
