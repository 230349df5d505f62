"""OpenTelemetry's environment variables: which exporter they choose, and the name of the service."""

from __future__ import annotations

import importlib.util
import json

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contactsvc.errors import ConfigurationError
from contactsvc.telemetry.trace_exporter import exporter_from
from contactsvc.telemetry.tracing import OpenTelemetryTracing

PROTOCOL, PROTOCOL_OF_TRACES = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
HTTP_INSTALLED = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, OTLPSpanExporter),
        ({"OTEL_TRACES_EXPORTER": ""}, OTLPSpanExporter),
        ({"OTEL_TRACES_EXPORTER": "otlp", PROTOCOL: "grpc"}, OTLPSpanExporter),
        ({PROTOCOL: "http/json", PROTOCOL_OF_TRACES: "grpc"}, OTLPSpanExporter),
        ({"OTEL_TRACES_EXPORTER": "console", PROTOCOL: "http/json"}, ConsoleSpanExporter),
    ],
)
def test_the_variables_choose_the_exporter(environ: dict[str, str], kind: type) -> None:
    exporter = exporter_from(environ)

    assert exporter is not None
    assert type(exporter) is kind
    exporter.shutdown()


def test_none_exports_nothing() -> None:
    assert exporter_from({"OTEL_TRACES_EXPORTER": "none", PROTOCOL: "http/json"}) is None


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin"),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, "OTEL_TRACES_EXPORTER=otlp,console"),
        ({PROTOCOL: "http/json"}, f"{PROTOCOL}=http/json"),
        ({PROTOCOL: "grpc", PROTOCOL_OF_TRACES: "carrier-pigeon"}, f"{PROTOCOL_OF_TRACES}=carrier-pigeon"),
    ],
)
def test_other_values_are_refused_in_one_line(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        exporter_from(environ)

    assert str(raised.value).startswith(named)
    assert "use " in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(HTTP_INSTALLED, reason="the exporter for HTTP is installed")
def test_http_without_its_exporter_names_the_package() -> None:
    with pytest.raises(ConfigurationError, match="pip install opentelemetry-exporter-otlp-proto-http"):
        exporter_from({PROTOCOL: "http/protobuf"})


async def test_the_console_gets_one_json_object_per_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    # In a task, as calls are: its context, which has the span of the call, ends with it.
    exporter = exporter_from({"OTEL_TRACES_EXPORTER": "console"})
    assert exporter is not None
    tracing = OpenTelemetryTracing(exporter, "a.Service")
    for method in ("First", "Second"):
        tracing.start(method, {}).end("OK", "", "id")
    tracing.close()

    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["name"] for line in captured.err.splitlines()] == ["a.Service/First", "a.Service/Second"]


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "contactsvc"),
        ({"OTEL_SERVICE_NAME": "contacts-eu"}, "contacts-eu"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=contacts-us,deployment.environment.name=prod"}, "contacts-us"),
    ],
)
async def test_the_variables_name_the_service(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    # In a task, as calls are: its context, which has the span of the call, ends with it.
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, "a.Service")
    tracing.start("Method", {}).end("OK", "", "id")
    tracing.close()

    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == name
    assert span.resource.attributes["service.version"]
