"""Tracing with OpenTelemetry: one span per RPC, in the caller's trace when it sends one (W3C Trace Context).

Requires the extra `contactsvc[otel]`. OpenTelemetry's environment variables configure it; trace_exporter.py reads those
of the export, the SDK all others. Names and attributes follow the semantic conventions for gRPC. Spans hold methods,
statuses, reasons and request ids, never the contents of requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contactsvc import __version__, trace_context
from contactsvc.telemetry.command_tracing import TracedDatabase
from contactsvc.telemetry.metrics import Metrics

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
        self._provider = TracerProvider(resource=_resource())
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("contactsvc", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._getter = _Getter()
        self._service = service

    def start(self, method: str, headers: Headers) -> CallSpan:
        """Start the span of a call, which the current task serves from now on."""
        name = f"{self._service}/{method}"
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(headers, getter=self._getter),
            kind=SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": name},
        )
        trace_context.begin(span)
        return CallSpan(span)

    def database(self, metrics: Metrics) -> TracedDatabase:
        """Return the recorder of database commands, as metrics and as spans of the calls."""
        return TracedDatabase(metrics, self._tracer)

    def close(self) -> None:
        """Export the remaining spans and stop."""
        self._provider.shutdown()


def _resource() -> Resource:
    """Return the attributes of the service; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence."""
    ours = Resource({"service.name": "contactsvc", "service.version": __version__})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


class CallSpan:
    """The span of a call."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, code: str, reason: str, request_id: str) -> None:
        """End the span with the status of the call."""
        self._span.set_attribute("rpc.response.status_code", code)
        self._span.set_attribute("contactsvc.request_id", request_id)
        if reason:
            self._span.set_attribute("contactsvc.reason", reason)
        if code in _SERVER_ERRORS:
            self._span.set_attribute("error.type", code)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


# The semantic conventions for gRPC: in a server span the other codes are the caller's errors, and are not recorded as
# errors.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
