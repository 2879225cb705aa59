"""Counters for Prometheus at ``/metrics``. A frame counts once, however often a device sends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from runtime.codec.packet import Flags
from runtime.serving.protocol import Answer

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FRAMES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
BYTES = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000)


class Metrics:
    """Counters of one server.

    Args:
        waiting: returns the frames that wait for a worker now.
        lost_lines: returns the log lines that could not be written.

    Attributes:
        registry: the counters, apart from any other server's in this process.
    """

    def __init__(self, waiting: Callable[[], int], lost_lines: Callable[[], int]):
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        requests = Counter(
            "ratehold_requests", "Requests for inference, repetitions and errors included", ["protocol"],
            registry=registry,
        )  # fmt: skip
        frames = Counter(
            "ratehold_frames", "Frames answered, each once",
            ["bundle", "defended", "coarser", "rate_controlled"], registry=registry,
        )  # fmt: skip
        self._repeated = Counter(
            "ratehold_repeated_requests", "Requests whose frame was known already", registry=registry
        )
        self._errors = Counter("ratehold_errors", "Errors by kind", ["protocol", "kind"], registry=registry)
        self._refused = Counter(
            "ratehold_refused_connections",
            "Connections closed before a whole request: handshakes, too many, too slow, not HTTP", ["kind"],
            registry=registry,
        )  # fmt: skip
        packet_bytes = Histogram(
            "ratehold_packet_bytes", "Bytes of the packets of answered frames", ["bundle"], buckets=BYTES,
            registry=registry,
        )  # fmt: skip
        seconds = Histogram(
            "ratehold_stage_seconds", "Wall time of answered frames by stage", ["stage"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        # The look-up of a child by its labels takes longer than counting, hence the caches.
        self._requests, self._frames = cache(requests.labels), cache(frames.labels)
        self._bytes, self._seconds = cache(packet_bytes.labels), cache(seconds.labels)
        self._together = Histogram(
            "ratehold_frames_together", "Frames in each run of a tail", buckets=FRAMES, registry=registry
        )
        waiting_now = Gauge("ratehold_waiting", "Frames that wait for a worker", registry=registry)
        waiting_now.set_function(waiting)
        lost = Gauge("ratehold_log_lines_lost", "Log lines that could not be written", registry=registry)
        lost.set_function(lost_lines)

    def request(self, protocol: str) -> None:
        """Count a request for inference."""
        self._requests(protocol).inc()

    def repeated(self) -> None:
        """Count a request whose frame was known already."""
        self._repeated.inc()

    def frame(self, answer: Answer, packet_bytes: int) -> None:
        """Count a decoded frame."""
        flags = answer.flags
        done = (Flags.DENOISED in flags, answer.coarseness > 0, Flags.RATE_CONTROLLED in flags)
        self._frames(answer.bundle, *(str(whether).lower() for whether in done)).inc()
        self._bytes(answer.bundle).observe(packet_bytes)
        for stage, seconds in answer.seconds.items():
            self._seconds(stage).observe(seconds)

    def run(self, frames: int) -> None:
        """Count a run of a tail with so many frames."""
        self._together.observe(frames)

    def error(self, protocol: str, kind: str) -> None:
        """Count a request that was answered with an error."""
        self._errors.labels(protocol, kind).inc()

    def refused(self, kind: str) -> None:
        """Count a connection that was closed before a whole request came."""
        self._refused.labels(kind).inc()

    def text(self) -> bytes:
        """The text format of Prometheus, version 0.0.4."""
        return generate_latest(self.registry)
