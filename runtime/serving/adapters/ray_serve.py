"""The service as replicas of Ray Serve: ``ratehold serve --on ray``; Open Inference Protocol v2 over gRPC.

Messages cross Ray as the bytes that came over the wire: the handlers have no deserializer. So nothing that a
generated module defines is pickled, and no shim for it is needed. Each replica is a service with a memory of
its own: a frame that is sent again to another replica is decoded and counted again, with the same answer.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import Any

import grpc
import ray
from ray import serve
from ray.serve.config import gRPCOptions
from ray.serve.grpc_util import RayServegRPCContext

from runtime.bundle import load
from runtime.errors import ServingError
from runtime.json_log import JsonLog
from runtime.serving.exchange import over_grpc
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.protocol import fault
from runtime.serving.service import Service

METHODS = ("ServerLive", "ServerReady", "ModelReady", "ModelInfer")
APPLICATION = "ratehold"


def add_methods(_: Any, server: Any) -> None:
    """Give Ray's proxy the protocol's methods. It replaces their behaviour by calls of the replicas."""
    handlers = {name: grpc.unary_unary_rpc_method_handler(_replaced) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _replaced(request: bytes, context: Any) -> bytes:
    raise NotImplementedError("Ray's proxy calls the replicas instead")


class Replica:
    """A service in a process of Ray's; the methods have the protocol's names."""

    def __init__(self, options: Options):
        self._service = Service(Models([load(name) for name in options.bundles]), options, JsonLog(2))

    def check_health(self) -> None:
        """Asked by Ray, which replaces a replica whose workers are gone."""
        if not self._service.ready:
            raise ServingError("no worker lives")

    async def ServerLive(self, request: bytes) -> Any:
        """Whether a replica answers."""
        return MESSAGES["ServerLiveResponse"](live=True)

    async def ServerReady(self, request: bytes) -> Any:
        """Whether it takes requests."""
        return MESSAGES["ServerReadyResponse"](ready=self._service.ready)

    async def ModelReady(self, request: bytes) -> Any:
        """Whether it takes requests for a model."""
        name = MESSAGES["ModelReadyRequest"].FromString(request).name
        ready = self._service.ready and name in self._service.models.names()
        return MESSAGES["ModelReadyResponse"](ready=ready)

    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Any:
        """Decode one packet. The context's code goes to the client; an exception would fill Ray's log."""
        try:
            return await over_grpc(self._service, request)
        except Exception as error:
            told = fault(error)
            grpc_context.set_code(grpc.StatusCode[told.grpc])
            grpc_context.set_details(told.text)
            return MESSAGES["ModelInferResponse"]()


def deploy(
    options: Options, replicas: int | str, address: str | None = None, proxies: str = "EveryNode"
) -> None:
    """Start or join a cluster, and deploy.

    address: of a cluster's head; None: a cluster of this machine. proxies: nodes that listen for requests.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, logging_level="warning")
    servicer = f"{__name__}.{add_methods.__name__}"
    serve.start(
        proxy_location=proxies,
        grpc_options=gRPCOptions(port=options.grpc_port, grpc_servicer_functions=[servicer]),
    )
    deployment = serve.deployment(
        Replica, name=APPLICATION, num_replicas=replicas,
        max_ongoing_requests=options.workers + options.queue,
        graceful_shutdown_timeout_s=options.drain, ray_actor_options={"num_cpus": options.workers},
    )  # fmt: skip
    serve.run(deployment.bind(replace(options, insecure=True)), name=APPLICATION)


def run(options: Options, log: JsonLog, replicas: int | str, address: str | None = None) -> None:
    """Deploy, and stay until SIGTERM or SIGINT; accepted requests are answered then."""
    if not options.insecure:
        raise ServingError("Ray listens on every address, without TLS: in a private network, say --insecure")
    stop = threading.Event()
    deploy(options, replicas, address)
    for number in (signal.SIGTERM, signal.SIGINT):  # Ray sets its own handlers when it starts
        signal.signal(number, lambda *_: stop.set())
    log("listening", engine="ray", grpc_port=options.grpc_port, replicas=replicas)
    stop.wait()
    serve.shutdown()
    ray.shutdown()
    log("stopped")
