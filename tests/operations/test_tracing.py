"""Spans of calls."""

from __future__ import annotations

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from contactsvc.domain.kinds import Environment
from contactsvc.telemetry.tracing import OpenTelemetryTracing
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, serving
from tests.operations.planted import PLANTED, planted_calls
from tests.operations.stores import BrokenStore

SERVICE = "contactsvc.v1.ContactMethodsService"
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
    assert stream.attributes["rpc.grpc.status"] == "OK"
    assert found.parent is not None
    assert (f"{found.parent.trace_id:032x}", f"{found.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(found.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "GetContactMethod",
        "rpc.grpc.status": "NOT_FOUND",
        "error.type": "CONTACT_METHOD_NOT_FOUND",
        "contactsvc.request_id": "abc-1",
    }
    assert found.status.status_code is StatusCode.UNSET


async def test_no_span_shows_what_callers_sent(on_embedded: OpenStores) -> None:
    exporter = InMemorySpanExporter()
    tracing = OpenTelemetryTracing(exporter, SERVICE)
    stores = await on_embedded()
    stores[Environment.LIVE] = BrokenStore(stores[Environment.LIVE])  # type: ignore[assignment]
    async with serving(stores, tracing=tracing) as api:
        for call in planted_calls(api):
            try:
                await call()
            except Exception:  # noqa: S112 - only the spans matter here
                continue
    tracing.close()

    spans = exporter.get_finished_spans()
    assert any(span.status.status_code is StatusCode.ERROR for span in spans)
    assert PLANTED not in " ".join(span.to_json() for span in spans)
