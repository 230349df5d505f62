"""HTTP/1.1 with keep-alive, as little of it as a load generator needs: prepared requests out, status and length in."""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.closed_loop import ClosedLoop


class Http1Connection(asyncio.Protocol):
    """One connection that keeps one request in flight; a request is all its bytes, headers included."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._started: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport
        self._begin()

    def connection_lost(self, error: Exception | None) -> None:
        """Give up what was in flight, and all that was to follow."""
        self._loop.stop()
        if self._started is not None:
            self._loop.ended(self._started, succeeded=False)

    def data_received(self, data: bytes) -> None:
        """Read on; at the end of an answer begin the next request."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(body) < int(head[at:].partition(b"\r\n")[0]) or self._started is None:
            return
        self._loop.received(body)
        self._buffer = b""
        started, self._started = self._started, None
        self._loop.ended(started, succeeded=head.startswith(b"HTTP/1.1 2"))
        self._begin()

    def _begin(self) -> None:
        request = self._loop.next_request()
        if request is not None and self._transport is not None:
            self._started = perf_counter()
            self._transport.write(request)
