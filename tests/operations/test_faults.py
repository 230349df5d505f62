"""Faults below a handler."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from contactsvc.domain.kinds import Environment
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of, serving


class CancellingStore:
    """A store whose reads are cancelled, but not by the caller."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def find(self, id_: str) -> Any:
        raise asyncio.CancelledError

    async def stream_pages(self, listing: Any) -> Any:
        raise asyncio.CancelledError
        yield

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_stray_cancellation_ends_the_call_with_an_error(on_embedded: OpenStores) -> None:
    stores: Any = await on_embedded()
    stores[Environment.LIVE] = CancellingStore(stores[Environment.LIVE])

    async def read(call: Any) -> None:
        async for _ in call:
            pass

    async with serving(stores) as api:
        unary = await failure_of(api.stub.GetContactMethod(pb.GetContactMethodRequest(id="x"), timeout=30))
        stream = await failure_of(read(api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(), timeout=30)))

    for failure in (unary, stream):
        assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "request_id" in failure.metadata
