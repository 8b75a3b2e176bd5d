"""The examples for fleets: that they are what their engines read, and that each worker learns from them who is there."""

import os
import subprocess

import pytest
import yaml
from conftest import ROOT

from training import options
from training.fitting import cluster

FLEETS = ROOT / "docs" / "fleets"
PYTHON = '#!/bin/bash\necho "$TF_CONFIG"\necho "$@"\n'
SHOWN = '#!/bin/bash\n[ "$1" = show ] && printf "host%d\\n" 0 1 2 3\n'
RUN = '#!/bin/bash\nshift; SLURM_PROCID=2 exec "$@"\n'
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


@pytest.mark.parametrize("name", READERS)
def test_kubernetes_reads_what_is_there(name):
    models = pytest.importorskip("kubeflow_trainer_api.models")
    job = yaml.safe_load((FLEETS / f"{name}.yaml").read_text())
    read = getattr(models, READERS[name]).from_dict(job)
    assert read.to_dict() == job  # unknown fields would be missing
