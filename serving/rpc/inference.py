"""Classify, Regress and MultiInference of the PredictionService, for serialized examples."""

from collections.abc import Callable

import numpy as np
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse, ClassificationResult
from tensorflow_serving.apis.inference_pb2 import InferenceTask, MultiInferenceRequest, MultiInferenceResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse, RegressionResult

from serving.models import inference
from serving.models.inference import CLASSIFY, REGRESS
from serving.models.models import Models
from serving.models.serialized import INPUT, serialized
from serving.models.servable import Endpoint
from serving.rpc.specs import answered, wanted
from serving.status import Code, RequestError, invalid


class Inference:
    """The three methods, for `models`."""

    def __init__(self, models: Models):
        self._models = models

    def classify(self, request: ClassificationRequest, until: Callable) -> ClassificationResponse:
        """Classifies examples.

        Args:
            until: as in `Endpoint.run`.

        Raises:
            RequestError: there is no such model, or no such signature that classifies, or the model failed.
        """
        servable = self._models.get(**wanted(request))
        endpoint = inference.endpoint(servable, request.model_spec.signature_name, CLASSIFY)
        result = _classified(endpoint, serialized(request.input), until)
        return ClassificationResponse(model_spec=answered(request.model_spec, servable), result=result)

    def regress(self, request: RegressionRequest, until: Callable) -> RegressionResponse:
        """Predicts a number for each example; arguments and errors as those of `classify`."""
        servable = self._models.get(**wanted(request))
        endpoint = inference.endpoint(servable, request.model_spec.signature_name, REGRESS)
        result = _regressed(endpoint, serialized(request.input), until)
        return RegressionResponse(model_spec=answered(request.model_spec, servable), result=result)

    def infer(self, request: MultiInferenceRequest, until: Callable) -> MultiInferenceResponse:
        """Runs several signatures of one version on the same examples; arguments and errors as those of `classify`."""
        _require_tasks(request)
        response = MultiInferenceResponse()
        if not request.tasks:
            return response
        servable = self._models.get(**wanted(request.tasks[0]))
        endpoints = [inference.endpoint(servable, task.model_spec.signature_name, task.method_name) for task in request.tasks]
        examples = serialized(request.input)
        for task, endpoint in zip(request.tasks, endpoints, strict=True):
            result = response.results.add(model_spec=answered(task.model_spec, servable))
            if task.method_name == CLASSIFY:
                result.classification_result.CopyFrom(_classified(endpoint, examples, until))
            else:
                result.regression_result.CopyFrom(_regressed(endpoint, examples, until))
        return response


def _require_tasks(request: MultiInferenceRequest) -> None:
    """Refuses tasks that do not all ask for different signatures of one model, in the order of `multi_inference.cc`."""
    signatures = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        _require_new(task, signatures)
        if task.method_name not in (CLASSIFY, REGRESS):
            raise RequestError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")


def _require_new(task: InferenceTask, signatures: set[str]) -> None:
    name = task.model_spec.signature_name or "serving_default"
    if name in signatures:
        raise invalid(f"Duplicate evaluation of signature: {name}")
    signatures.add(name)


def _classified(endpoint: Endpoint, examples: np.ndarray, until: Callable) -> ClassificationResult:
    labels, scores = inference.classes(endpoint.run({INPUT: examples}, until), len(examples))
    result = ClassificationResult()
    shape = (labels if scores is None else scores).shape
    for row in range(shape[0]):
        classes = result.classifications.add().classes
        for column in range(shape[1]):
            label = "" if labels is None else labels[row, column].decode("utf-8", "replace")  # a string on the wire
            classes.add(label=label, score=0.0 if scores is None else scores[row, column])
    return result


def _regressed(endpoint: Endpoint, examples: np.ndarray, until: Callable) -> RegressionResult:
    result = RegressionResult()
    for value in inference.numbers(endpoint.run({INPUT: examples}, until), len(examples)).tolist():
        result.regressions.add(value=value)
    return result
