"""The standard health service of gRPC, for the server, its services, and each model by its name."""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from serving.models.models import Models

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((prediction_service_pb2, "PredictionService"), (model_service_pb2, "ModelService"))
)
ALWAYS = {"", "PredictionService", "ModelService", *SERVICES}  # names that are healthy as long as the server answers
WATCHERS = 1000  # at the same time
INTERVAL = 1.0  # seconds between looks at what they watch
Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Whether a model has a version that answers; the server itself is healthy whenever it can say so."""

    def __init__(self, models: Models):
        self._models, self._watchers = models, 0

    async def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext) -> Status:
        """The health of a name; NOT_FOUND if there is no such service or model."""
        status = self._of(request.service)
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Expected a service or a model. Received: {request.service!r}.")
        return Status(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext) -> AsyncIterator[Status]:
        """The health of a name, and again whenever it has changed."""
        if self._watchers >= WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"Expected at most {WATCHERS} watchers. Try Check.")
        self._watchers += 1
        try:
            last = None
            while True:  # until the call is cancelled
                if (status := self._of(request.service)) != last:
                    yield Status(status=status)
                last = status
                await asyncio.sleep(INTERVAL)
        finally:
            self._watchers -= 1

    def _of(self, name: str) -> int:
        if name in ALWAYS:
            return Status.SERVING
        if name not in self._models.names:
            return Status.SERVICE_UNKNOWN
        return Status.SERVING if self._models.answers(name) else Status.NOT_SERVING
