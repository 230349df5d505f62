"""A fake service that answers as told, for tests of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from contactsvc.errors import TransactionsUnsupported
from contactsvc.rpc.status import status_of
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc


class FakeService(pb_grpc.ContactMethodsServiceServicer):
    """A service with scripted answers, which records the calls.

    Attributes:
        failures: the status codes of the next calls; the calls after them succeed.
        seen: the request and the metadata of each call.
        pages: the pages of the next stream; a status code ends it.
        transactional: whether writes may have a request_id.
    """

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.seen: list[tuple[Any, dict[str, Any]]] = []
        self.pages: list[pb.StreamContactMethodsResponse | grpc.StatusCode] = []
        self.transactional = True

    async def _answer(self, request: Any, context: Any, response: Any) -> Any:
        self.seen.append((request, dict(context.invocation_metadata())))
        if self.failures:
            await context.abort(self.failures.pop(0), "scripted")
        return response

    async def GetContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.GetContactMethodResponse())

    async def CreateContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.request_id and not self.transactional:
            status = status_of(TransactionsUnsupported("a request_id"))
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, status.message, trailing)
        return await self._answer(request, context, pb.CreateContactMethodResponse())

    async def ListContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.ListContactMethodsResponse(next_page_token="start"))

    async def StreamContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.seen.append((request, {}))
        while self.pages:
            page = self.pages.pop(0)
            if isinstance(page, grpc.StatusCode):
                await context.abort(page, "scripted")
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
