"""Spans of calls and of their database commands, and what callers send of their own."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient, ContactsClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pymongo.errors import OperationFailure

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.embedded_names import READ_INDEX
from contactsvc.telemetry.metrics import Metrics
from contactsvc.telemetry.tracing import OpenTelemetryTracing
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, OpenStores, failure_of, serving
from tests.integration.service_process import ended, launch
from tests.operations.planted import PLANTED, planted_calls
from tests.operations.stores import BrokenStore
from tests.operations.workers import on_database, refused
from tests.unit.fake_service import faked

SERVICE = "contactsvc.v1.ContactMethodsService"
Stores = dict[Environment, store.MongoStore]
GET = pb.GetContactMethodRequest(id="nobody")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def get(api: Api, *headers: tuple[str, str]) -> object:
    return failure_of(api.stub.GetContactMethod(pb.GetContactMethodRequest(id="nobody"), metadata=headers))


async def test_every_call_is_a_span_of_its_caller_s_trace(on_embedded: OpenStores) -> None:
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    async with serving(await on_embedded(), tracing=tracing) as api:
        await api.create()
        await get(api, ("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "abc-1"))  # type: ignore[misc]
        async for _ in api.stub.StreamContactMethods(pb.StreamContactMethodsRequest()):
            pass
    tracing.close()

    create, found, stream = exporter.get_finished_spans()
    assert create.name == f"{SERVICE}/CreateContactMethod"
    assert create.parent is None
    assert stream.attributes is not None
    assert stream.attributes["rpc.response.status_code"] == "OK"
    assert found.parent is not None
    assert (f"{found.parent.trace_id:032x}", f"{found.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(found.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/GetContactMethod",
        "rpc.response.status_code": "NOT_FOUND",
        "contactsvc.reason": "CONTACT_METHOD_NOT_FOUND",
        "contactsvc.request_id": "abc-1",
    }
    assert found.status.status_code is StatusCode.UNSET


@asynccontextmanager
async def traced(uri: str, driver: str, exporter: InMemorySpanExporter) -> AsyncIterator[tuple[Api, str]]:
    """Run a server whose calls and database commands are traced."""
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    deployment = await store.connect(uri, driver, tracing.database(Metrics()))
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        stores: Stores = {
            environment: await deployment.open_store(f"{name}_{environment}") for environment in Environment
        }
        async with serving(stores, tracing=tracing) as api:
            yield api, f"{name}_live"
    finally:
        await deployment.close()
        tracing.close()


def commands(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]


@pytest.mark.parametrize("driver", store.DRIVERS)
async def test_database_commands_are_children_of_their_call(embedded_uri: str, driver: str) -> None:
    exporter = InMemorySpanExporter()
    async with traced(embedded_uri, driver, exporter) as (api, database):
        await api.create(is_primary=True)
        await api.create(is_primary=True)
        await get(api)  # type: ignore[misc]

    calls = {span.context.span_id: span.name for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER}
    assert len(calls) == 3
    # Not those of the start: they belong to no call.
    assert commands(exporter)
    assert {calls[span.parent.span_id] for span in commands(exporter) if span.parent} == set(calls.values())
    find = next(span for span in commands(exporter) if span.name == "find contact_methods")
    attributes = dict(find.attributes or {})
    assert isinstance(attributes.pop("server.port"), int)
    assert attributes == {
        "db.system.name": "mongodb",
        "db.operation.name": "find",
        "db.namespace": database,
        "db.collection.name": "contact_methods",
        "server.address": "127.0.0.1",
    }
    assert {"insert contact_methods", "commitTransaction admin"} <= {span.name for span in commands(exporter)}


@pytest.mark.parametrize("driver", store.DRIVERS)
async def test_a_failed_command_has_its_code(embedded_uri: str, driver: str) -> None:
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    deployment = await store.connect(embedded_uri, driver, tracing.database(Metrics()))
    call = tracing.start("GetContactMethod", {})
    database: Any = deployment.driver.database("test")
    with pytest.raises(OperationFailure):
        await database.command({"noSuchCommand": PLANTED})
    call.end("INTERNAL", "INTERNAL", "id")
    await deployment.close()
    tracing.close()

    (failed,) = (span for span in commands(exporter) if span.name == "noSuchCommand test")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == failed.attributes["db.response.status_code"] == "59"
    assert PLANTED not in failed.to_json()


async def test_a_command_of_several_calls_is_linked_to_all_of_them(embedded_uri: str) -> None:
    exporter = InMemorySpanExporter()
    async with traced(embedded_uri, DRIVER, exporter) as (api, _):
        await asyncio.gather(*(failure_of(api.stub.GetContactMethod(GET)) for _ in range(60)))

    calls = {span.context.span_id for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER}
    served = [span.parent.span_id for span in commands(exporter) if span.parent]
    linked = [link.context.span_id for span in commands(exporter) for link in span.links]
    assert len(calls) == 60
    assert linked
    assert sorted(served + linked) == sorted(calls)


async def test_an_unsampled_call_has_no_spans_of_commands(embedded_uri: str) -> None:
    exporter = InMemorySpanExporter()
    async with traced(embedded_uri, DRIVER, exporter) as (api, _):
        await get(api, ("traceparent", f"00-{TRACE}-{PARENT}-00"))  # type: ignore[misc]

    assert exporter.get_finished_spans() == ()


async def test_no_span_shows_what_callers_sent(on_embedded: OpenStores, embedded_uri: str) -> None:
    exporter, other = InMemorySpanExporter(), InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    stores = await on_embedded()
    stores[Environment.LIVE] = BrokenStore(stores[Environment.LIVE])  # type: ignore[assignment]
    async with serving(stores, tracing=tracing) as api, traced(embedded_uri, DRIVER, other) as (sound, _):
        for call in (*planted_calls(api), *planted_calls(sound)):
            try:
                await call()
            except Exception:  # noqa: S112 - only the spans matter here
                continue
    tracing.close()

    spans = (*exporter.get_finished_spans(), *other.get_finished_spans())
    assert any(span.status.status_code is StatusCode.ERROR for span in spans)
    assert commands(other)
    assert PLANTED not in " ".join(span.to_json() for span in spans)


async def test_a_call_of_the_python_client_belongs_to_the_active_span(on_embedded: OpenStores) -> None:
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    application = TracerProvider().get_tracer("application")
    async with (
        serving(await on_embedded(), tracing=tracing) as api,
        AsyncContactsClient(api.target) as sdk,
    ):
        with application.start_as_current_span("work") as work:
            await sdk.contact_methods.list()
            with ContactsClient(api.target) as blocking:
                await asyncio.get_running_loop().run_in_executor(
                    None, copy_context().run, blocking.contact_methods.list
                )
        await sdk.contact_methods.list()
    tracing.close()

    first, second, outside = exporter.get_finished_spans()
    for call in (first, second):
        assert call.parent is not None
        assert call.parent.span_id == work.get_span_context().span_id
    assert outside.parent is None


async def test_the_python_client_neither_imports_opentelemetry_nor_sends_a_trace_without_it() -> None:
    async with faked() as (service, target):
        script = (
            "import sys; from contactsvc_client import ContactsClient; "
            f"ContactsClient({target!r}).contact_methods.list(); "
            "print([name for name in sys.modules if name.startswith('opentelemetry')])"
        )

        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        printed, _ = await process.communicate()

        ((_, metadata),) = service.seen
    assert printed == b"[]\n"
    assert "traceparent" not in metadata


async def test_a_service_refuses_an_exporter_that_it_does_not_know(embedded_uri: str) -> None:
    flags = ("--tracing", "on", *on_database(embedded_uri))
    code, output, log = await refused(*flags, OTEL_TRACES_EXPORTER="zipkin")

    assert (code, output) == (2, "")
    assert log == "contactsvc: OTEL_TRACES_EXPORTER=zipkin is not supported; use otlp, console or none\n"


async def test_a_service_writes_its_spans_to_the_console(embedded_uri: str) -> None:
    flags = ("--tracing", "on", "--workers", "1", *on_database(embedded_uri))
    process = await launch(*flags, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="contacts-eu")
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().split()[-1]
    async with AsyncContactsClient(address) as sdk:
        await sdk.contact_methods.list()
    process.terminate()
    code, output, log = await ended(process)

    assert (code, output) == (0, "")
    spans = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {f"{READ_INDEX} contact_methods", f"{SERVICE}/ListContactMethods"} <= {span["name"] for span in spans}
    assert {span["resource"]["attributes"]["service.name"] for span in spans} == {"contacts-eu"}
