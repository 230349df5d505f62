"""Refusal of new calls at the start of a shutdown, before gRPC closes its connections.

gRPC's own shutdown ends every call that its core has received but not yet passed to a handler with CANCELLED, a status
that clients do not retry by default (grpc/grpc#41785). So the server first refuses new calls with UNAVAILABLE and asks
for a retry once the connections are closed. When callers have become quiet, gRPC closes them.

Calls that arrive later than that still end with CANCELLED; the client of this project retries those as well.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from contactsvc.rpc.status import UNAVAILABLE

_TICK_SECONDS = 0.01
# Ticks rather than one pause: on a busy machine a pause can elapse before the event loop has seen a received call.
_QUIET_TICKS = 5
_MAX_TICKS = 20
# Longer than the refusal: a retry finds a new connection, and a caller spends only one of its attempts here.
_RETRY_PUSHBACK_MS = 250


class DrainingHandler(grpc.GenericRpcHandler):
    """Passes calls on to a handler; after `close` it refuses them.

    Args:
        handler: of the service.
        tick_seconds: interval at which `quiet` looks for new calls.

    Attributes:
        refused: number of refused calls.
    """

    def __init__(self, handler: grpc.GenericRpcHandler, *, tick_seconds: float = _TICK_SECONDS) -> None:
        self._handler = handler
        self._tick_seconds = tick_seconds
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
        """Wait until several ticks in a row bring no new call, but not longer than the maximum."""
        quiet, before = 0, self.refused
        for _ in range(_MAX_TICKS):
            await asyncio.sleep(self._tick_seconds)
            quiet, before = (quiet + 1 if self.refused == before else 0), self.refused
            if quiet == _QUIET_TICKS:
                return


async def _refuse(_: object, context: Any) -> bytes:
    trailing = (("grpc-retry-pushback-ms", str(_RETRY_PUSHBACK_MS)),)
    await context.abort(UNAVAILABLE, "the server is shutting down: retry on another connection", trailing)
    raise AssertionError("abort returned")


# Serves streaming RPCs as well: a response that is only a status has the same form for both. The request is not read.
_REFUSAL: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_refuse)
