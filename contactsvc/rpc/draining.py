"""Refusal of new calls at the start of a shutdown, before gRPC closes its connections.

gRPC's own shutdown ends every call that its core has received but not yet passed to a handler with CANCELLED, a status
that no client retries (grpc/grpc#41785). So the server first refuses new calls with UNAVAILABLE, until callers have
backed off; only then does gRPC close the connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from contactsvc.rpc.status import UNAVAILABLE

# Longer than the way from a caller to its handler. Shorter than the first backoff of the client's retries.
_QUIET_SECONDS = 0.05
# Shorter than all retries of the client together: refused callers must find a new connection with the last one.
_MAX_REFUSAL_SECONDS = 0.5


class DrainingHandler(grpc.GenericRpcHandler):
    """Passes calls on to a handler; after `close` it refuses them.

    Args:
        handler: of the service.
        quiet_seconds: time without a new call after which callers count as gone.
        max_refusal_seconds: upper bound of the wait for that.

    Attributes:
        refused: number of refused calls.
    """

    def __init__(
        self,
        handler: grpc.GenericRpcHandler,
        *,
        quiet_seconds: float = _QUIET_SECONDS,
        max_refusal_seconds: float = _MAX_REFUSAL_SECONDS,
    ) -> None:
        self._handler = handler
        self._quiet_seconds = quiet_seconds
        self._max_refusal_seconds = max_refusal_seconds
        self._closed = False
        self.refused = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call; None for methods of other services."""
        method = self._handler.service(handler_call_details)
        if self._closed and method is not None:
            self.refused += 1
            return _REFUSAL
        return method

    def close(self) -> None:
        """Refuse calls from now on. Calls in flight continue."""
        self._closed = True

    async def quiet(self) -> None:
        """Wait until no new calls arrive, within limits."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._max_refusal_seconds
        while loop.time() < deadline:
            before = self.refused
            await asyncio.sleep(self._quiet_seconds)
            if self.refused == before:
                return


async def _refuse(_: bytes, context: Any) -> bytes:
    await context.abort(UNAVAILABLE, "the server is shutting down: retry on another connection")
    raise AssertionError("abort returned")


# Serves streaming RPCs as well: a response that is only a status has the same form for both.
_REFUSAL: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_refuse)
