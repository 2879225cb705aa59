"""Spans, as OpenTelemetry's own SDK receives them."""

from __future__ import annotations

import sys
from itertools import pairwise
from types import MappingProxyType

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.errors import ServingError
from runtime.guard.defence import COARSENESS
from runtime.serving.tracing import Tracing
from runtime.streaming.connection import Address, Connection, Refused
from tests.runtime.serving.running import Start


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


def milliseconds(span: ReadableSpan) -> float:
    assert span.start_time is not None and span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def test_a_frame_is_a_span_with_its_stages_below_it(
    start: Start, packets: dict[str, bytes], tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    server = start()
    server.server.service.watchers.append(tracing)
    client = Connection(Address.of(server.http, 5.0))
    for _ in range(2):  # the repetition is no frame
        client.infer("camera-7", packets["defended"])
    with pytest.raises(Refused):
        client.infer("camera-8", b"no packet")
    client.infer("camera-9", packets["mshp"])
    client.close()
    spans = exporter.get_finished_spans()
    frames = [span for span in spans if span.name == "frame"]
    assert [dict(frame.attributes or MappingProxyType({})) for frame in frames] == [
        {
            "ratehold.request_id": identity, "ratehold.bundle": bundle, "ratehold.flags": flags,
            "ratehold.coarseness": coarseness, "ratehold.packet_bytes": len(packets[packet]),
        }
        for identity, bundle, flags, coarseness, packet in (
            ("camera-7", "tiny-fp", "DENOISED", COARSENESS, "defended"),
            ("camera-9", "tiny-mshp", "NONE", 0, "mshp"),
        )
    ]  # fmt: skip
    for frame in frames:
        assert frame.parent is None
        stages = [span for span in spans if span.parent and span.parent.span_id == frame.context.span_id]
        assert {"decode", "tail"} <= {stage.name for stage in stages}
        assert stages[0].start_time == frame.start_time and stages[-1].end_time == frame.end_time
        assert sum(map(milliseconds, stages)) == pytest.approx(milliseconds(frame), abs=1e-6)
        assert all(a.end_time == b.start_time for a, b in pairwise(stages))


def test_nothing_is_traced_unless_it_is_asked_for(start: Start) -> None:
    assert start().server.service.watchers == []
    (watcher,) = start(otel=True).server.service.watchers
    assert isinstance(watcher, Tracing)


def test_without_opentelemetry_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ServingError, match=r"pip install 'ratehold\[otel\]'"):
        Tracing()
