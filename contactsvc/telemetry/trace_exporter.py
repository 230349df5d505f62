"""The exporter of traces that OpenTelemetry's environment variables choose.

OTEL_TRACES_EXPORTER: otlp (default), console, which writes one JSON object per line to standard error, or none.
OTEL_EXPORTER_OTLP_PROTOCOL, or OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: grpc (default) or http/protobuf. The exporters read
their other variables themselves, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from contactsvc.errors import ConfigurationError

# A collector that does not answer must not delay the shutdown of the service.
_TIMEOUT_SECONDS = 3
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def exporter_from(environ: Mapping[str, str]) -> SpanExporter | None:
    """Return the exporter that the environment chooses; None for none.

    Raises:
        ConfigurationError: a variable has a value that is not supported, or its exporter is not installed.
    """
    match chosen := environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp":
        case "otlp":
            return _otlp(environ)
        case "console":
            # Standard output carries one line only, the address of the service.
            return ConsoleSpanExporter(out=sys.stderr, formatter=_as_line)
        case "none":
            return None
    raise ConfigurationError(f"OTEL_TRACES_EXPORTER={chosen} is not supported; use otlp, console or none")


def _otlp(environ: Mapping[str, str]) -> SpanExporter:
    # The variables give seconds, too.
    timeout = None if any(environ.get(name) for name in _TIMEOUTS) else _TIMEOUT_SECONDS
    variable = next((name for name in _PROTOCOLS if environ.get(name)), _PROTOCOLS[-1])
    match protocol := environ.get(variable, "").strip() or "grpc":
        case "grpc":
            from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_exporter

            return grpc_exporter.OTLPSpanExporter(timeout=timeout)
        case "http/protobuf":
            try:
                from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_exporter
            except ModuleNotFoundError as error:
                raise ConfigurationError(
                    f"{variable}={protocol} needs its exporter: pip install opentelemetry-exporter-otlp-proto-http"
                ) from error
            exporter: SpanExporter = http_exporter.OTLPSpanExporter(timeout=timeout)
            return exporter
    raise ConfigurationError(f"{variable}={protocol} is not supported; use grpc or http/protobuf")


def _as_line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
