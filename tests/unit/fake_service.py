"""A fake service with scripted answers, for tests of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from contactsvc.errors import ContactsvcError, TransactionsUnsupported
from contactsvc.rpc.status import status_of
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc

Failure = grpc.StatusCode | ContactsvcError

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def fail(context: Any, failure: Failure) -> None:
    """End a call: with a bare status code, as gRPC itself does, or with an error of the service and its details."""
    if isinstance(failure, grpc.StatusCode):
        # With a pushback for retries by gRPC itself: at once.
        await context.abort(failure, "scripted", (("grpc-retry-pushback-ms", "1"),))
        return
    status = status_of(failure)
    await context.abort(_CODES[status.code], status.message, (("grpc-status-details-bin", status.SerializeToString()),))


class FakeService(pb_grpc.ContactMethodsServiceServicer):
    """A service with scripted answers, which records the calls.

    Attributes:
        failures: how the next calls fail; the calls after them succeed.
        seen: the request and the metadata of each call.
        record: the contact method that a read returns.
        results: those of a batch delete.
        pages: the pages of the next stream; a failure ends it.
        transactional: whether writes may have a request_id.
    """

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.seen: list[tuple[Any, dict[str, Any]]] = []
        self.record = pb.ContactMethod()
        self.results: list[pb.BatchDeleteContactMethodsResult] = []
        self.pages: list[pb.StreamContactMethodsResponse | Failure] = []
        self.transactional = True

    async def _answer(self, request: Any, context: Any, response: Any) -> Any:
        self.seen.append((request, dict(context.invocation_metadata())))
        if self.failures:
            await fail(context, self.failures.pop(0))
        return response

    async def GetContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.GetContactMethodResponse(contact_method=self.record))

    async def CreateContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.request_id and not self.transactional:
            await fail(context, TransactionsUnsupported("a request_id"))
        return await self._answer(request, context, pb.CreateContactMethodResponse())

    async def BatchDeleteContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.BatchDeleteContactMethodsResponse(results=self.results))

    async def ListContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.ListContactMethodsResponse(next_page_token="start"))

    async def StreamContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.seen.append((request, {}))
        while self.pages:
            page = self.pages.pop(0)
            if isinstance(page, Failure):
                await fail(context, page)
            yield page

    async def GetPrimaryContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        await asyncio.Event().wait()


@asynccontextmanager
async def faked() -> AsyncIterator[tuple[FakeService, str]]:
    server, service = grpc.aio.server(), FakeService()
    pb_grpc.add_ContactMethodsServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
