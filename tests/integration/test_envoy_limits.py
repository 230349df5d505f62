"""Envoy in front of a service with API keys, and its limits for connections, requests and answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores
from tests.hostile.raw_http2 import opened
from tests.integration.envoy_process import Envoy, needs_envoy, running_envoy
from tests.operations.guarded import Guarded, bearer, guarded

pytestmark = needs_envoy

STREAM = "/contactsvc.v1.ContactMethodsService/StreamContactMethods"
MAX_CONNECTIONS = 4


def tightened(configuration: dict[str, Any]) -> None:
    """Lower the limits, so that a test can reach them."""
    (listener,) = configuration["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for name in ("request_headers_timeout", "request_timeout", "stream_idle_timeout"):
        assert name in manager
        manager[name] = "0.5s"
    monitors = {
        monitor["name"]: monitor["typed_config"] for monitor in configuration["overload_manager"]["resource_monitors"]
    }
    limit = monitors["envoy.resource_monitors.global_downstream_max_connections"]
    assert "max_active_downstream_connections" in limit
    limit["max_active_downstream_connections"] = MAX_CONNECTIONS


@dataclass(frozen=True)
class Fronted:
    """Envoy with low limits, in front of a server that requires keys."""

    envoy: Envoy
    server: Guarded
    key: str


@pytest.fixture(scope="module")
async def fronted(on_embedded: OpenStores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fronted]:
    """Run both for all tests of this file."""
    async with guarded(on_embedded) as server:
        key = server.keys.make()
        await server.gate.refresh()
        folder = tmp_path_factory.mktemp("envoy")
        async with running_envoy(server.api.target, folder, tightened) as envoy:
            yield Fronted(envoy, server, key)


async def test_the_service_requires_its_keys_in_json_as_well(fronted: Fronted) -> None:
    without = await fronted.envoy.call("GET", "/v1/contact-methods/contact_1")
    with_key = await fronted.envoy.call("GET", "/v1/contact-methods/contact_1", headers=dict([bearer(fronted.key)]))

    assert (without.status, without.json["details"][0]["reason"]) == (401, "UNAUTHENTICATED")
    assert with_key.status == 404


async def test_connections_beyond_the_limit_are_closed(fronted: Fronted) -> None:
    host, _, port = fronted.envoy.address.rpartition(":")
    async with AsyncExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)

        reader, writer = await asyncio.open_connection(host, int(port))
        stack.callback(writer.close)

        assert await reader.read() == b""


@pytest.mark.parametrize("body", [False, True], ids=["headers", "body"])
async def test_an_unfinished_request_ends(fronted: Fronted, body: bool) -> None:
    host, _, port = fronted.envoy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"POST /v1/contact-methods HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {fronted.key}\r\n"
    if body:
        request += "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    writer.write(request.encode())

    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_unread_answer_stays_at_the_service_and_is_given_up(fronted: Fronted) -> None:
    stub = await fronted.server.stub_of(fronted.key)
    metadata = {f"{number:040}": "x" * 500 for number in range(40)}
    item = pb.CreateContactMethodRequest(
        client_id="c1", type=pb.CONTACT_METHOD_TYPE_OTHER, value="large", metadata=metadata
    )
    await stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[item] * 100))
    received = "cluster.contactsvc.upstream_cx_rx_bytes_total"
    before = await fronted.envoy.stat(received)

    async with opened(fronted.envoy.address, window=0) as connection:
        stream = await connection.call(STREAM, b"", (bearer(fronted.key),))
        await fronted.envoy.until(
            "cluster.contactsvc.upstream_flow_control_paused_reading_total", lambda count: count > 0
        )
        await connection.ended(stream)

    # Of 2 MB.
    assert await fronted.envoy.stat(received) - before < 500_000
    assert connection.streams[stream].received == 0
