"""The service inside KServe's model server: ``ratehold serve --on kserve``, and behind an InferenceService.

KServe listens, counts and drains. It reads a BYTES tensor over HTTP as UTF-8, which packets are not, so the
route for inference is ours and stands before its own; the work goes through its data plane all the same.
"""

from __future__ import annotations

from typing import Any

import grpc
import kserve
import kserve.model_server
from fastapi import Request as HttpRequest
from fastapi import Response
from fastapi.responses import JSONResponse
from grpc_interceptor.exceptions import GrpcException
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse
from prometheus_client import PROCESS_COLLECTOR, REGISTRY

from runtime.bundle import load
from runtime.errors import ServingError
from runtime.json_log import JsonLog
from runtime.serving.exchange import JSON_LENGTH, http_refusal, over_grpc, over_http
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.protocol import fault, metadata
from runtime.serving.service import Service


class PacketModel(kserve.Model):
    """One model name of the service; KServe calls it for requests over gRPC."""

    def __init__(self, name: str, service: Service):
        super().__init__(name)
        self._service, self._about = service, metadata(service.models.tasks(name))
        self.ready = True

    async def healthy(self) -> bool:
        """Whether the service takes requests."""
        return self._service.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """As the protocol's metadata has them."""
        return self._about["inputs"]

    def get_output_types(self) -> list[dict[str, Any]]:
        """As the protocol's metadata has them."""
        return self._about["outputs"]

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer an ``InferRequest`` that came over gRPC. Raises GrpcException with the protocol's code."""
        try:
            answer = await over_grpc(self._service, payload.to_grpc().SerializeToString())
        except Exception as error:
            told = fault(error)
            raise GrpcException(status_code=grpc.StatusCode[told.grpc], details=told.text) from error
        return ModelInferResponse.FromString(answer.SerializeToString())


def run(options: Options, log: JsonLog) -> None:
    """Serve until SIGTERM, and drain. Raises ServingError for options that KServe does not have."""
    if not options.insecure or options.certificates is not None:
        raise ServingError(
            "KServe listens on every address and knows no client's certificate: say --insecure, and let the "
            "cluster's mesh or its network policies keep strangers out"
        )
    service = Service(Models([load(name) for name in options.bundles]), options, log)
    REGISTRY.unregister(PROCESS_COLLECTOR)  # ours has its counters as well
    REGISTRY.register(service.metrics.registry)
    server = kserve.ModelServer(
        http_port=options.http_port, grpc_port=options.grpc_port, grace_period=max(1, round(options.drain)),
        enable_latency_logging=False, workers=1,  # its defaults come from our command line
    )  # fmt: skip
    _add_route(service)
    log("listening", engine="kserve", http_port=options.http_port, grpc_port=options.grpc_port)
    server.start([PacketModel(name, service) for name in service.models.names()])
    service.close()
    log("stopped", abandoned=service.pending)


def _add_route(service: Service) -> None:
    async def infer(request: HttpRequest) -> Response:
        try:
            content, headers = await over_http(
                service, request.path_params["model"], request.path_params.get("version", ""),
                request.headers.get(JSON_LENGTH), request.body,
            )  # fmt: skip
        except Exception as error:
            status, told, headers = http_refusal(error)
            return JSONResponse(told, status, headers)
        return Response(content, headers=headers)

    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    app = kserve.model_server.app
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        app.add_route(path, infer, methods=["POST"])
    app.add_api_route("/v2/health/ready", ready)
