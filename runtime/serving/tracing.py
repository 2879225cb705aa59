"""OpenTelemetry: a span for each frame, and a child span for each of its stages.

Only the API is used. The process that sets up the SDK decides where spans go; without an SDK they cost
nothing and go nowhere.
"""

from __future__ import annotations

import time
from importlib import metadata as packages
from typing import Any

from runtime.errors import ServingError
from runtime.serving.protocol import Answer, Request


class Tracing:
    """Makes the spans of decoded frames; a watcher of ``runtime.serving.service.Service``.

    Args:
        provider: takes the spans; None: the provider that the process has set up.

    Raises ServingError where OpenTelemetry is not installed.
    """

    def __init__(self, provider: Any = None):
        try:
            from opentelemetry import trace
            from opentelemetry.context import Context
        except ImportError as error:
            raise ServingError(
                f"--otel needs OpenTelemetry ({error}): pip install 'ratehold[otel]'"
            ) from error
        self._trace, self._root = trace, Context()
        self._tracer = trace.get_tracer("ratehold", packages.version("ratehold"), provider)

    def __call__(self, request: Request, answer: Answer) -> None:
        """Make the spans of a frame; its stages follow one another and end now."""
        end = time.time_ns()
        stages = {stage: round(1e9 * seconds) for stage, seconds in answer.seconds.items()}
        begin = end - sum(stages.values())
        about: dict[str, str | int] = {
            "ratehold.request_id": request.identity, "ratehold.bundle": answer.bundle,
            "ratehold.packet_bytes": len(request.packet), "ratehold.flags": answer.flags.name or "NONE",
            "ratehold.coarseness": answer.coarseness,
        }  # fmt: skip
        server = self._trace.SpanKind.SERVER
        frame = self._tracer.start_span("frame", self._root, server, about, start_time=begin)
        within = self._trace.set_span_in_context(frame, self._root)
        for stage, nanoseconds in stages.items():
            span = self._tracer.start_span(stage, within, start_time=begin)
            begin += nanoseconds
            span.end(begin)
        frame.end(end)
