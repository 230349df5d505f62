"""Tracing with OpenTelemetry: one span per RPC, in the caller's trace when it sends one (W3C Trace Context).

Requires the extra `contactsvc[otel]`. OpenTelemetry's environment variables configure the export, such as
OTEL_EXPORTER_OTLP_ENDPOINT. Spans hold methods, statuses and request ids, never the contents of requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contactsvc import __version__

# A collector that does not answer must not delay the shutdown of the service.
_EXPORT_TIMEOUT_SECONDS = 3

Headers = Mapping[str, tuple[str | bytes, ...]]


class _Getter(Getter[Headers]):
    def get(self, carrier: Headers, key: str) -> list[str] | None:
        return [value for value in carrier.get(key, ()) if isinstance(value, str)] or None

    def keys(self, carrier: Headers) -> list[str]:
        return list(carrier)


class OpenTelemetryTracing:
    """Creates the spans of calls.

    Args:
        exporter: receives finished spans in batches.
        service: full name of the gRPC service.
    """

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        resource = Resource.create({"service.name": "contactsvc", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("contactsvc", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._getter = _Getter()
        self._service = service

    def start(self, method: str, headers: Headers) -> CallSpan:
        """Start the span of a call."""
        span = self._tracer.start_span(
            f"{self._service}/{method}",
            context=self._propagator.extract(headers, getter=self._getter),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": self._service, "rpc.method": method},
        )
        return CallSpan(span)

    def close(self) -> None:
        """Export the remaining spans and stop."""
        self._provider.shutdown()


class CallSpan:
    """The span of a call."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, code: str, reason: str, request_id: str) -> None:
        """End the span with the status of the call."""
        self._span.set_attribute("rpc.grpc.status", code)
        self._span.set_attribute("contactsvc.request_id", request_id)
        if reason:
            self._span.set_attribute("error.type", reason)
        if code in _SERVER_ERRORS:
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


# OpenTelemetry's conventions for gRPC: in a server span the other codes are the caller's errors and leave it unset.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


def from_environment(service: str) -> OpenTelemetryTracing:
    """Return tracing with an OTLP exporter over gRPC, configured by OpenTelemetry's environment variables."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OpenTelemetryTracing(OTLPSpanExporter(timeout=_EXPORT_TIMEOUT_SECONDS), service)
