"""HTTP/1.1 with keep-alive, as little of it as a load generator needs.

Prepared requests go out; of an answer it reads the status, and where it ends, by its length or its last chunk.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.closed_loop import ClosedLoop

_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Http1Connection(asyncio.Protocol):
    """One connection that keeps one request in flight; a request is all its bytes, headers included."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._started: float | None = None
        self._head = b""
        self._left = 0
        self._end = b""

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
        if self._started is None:
            return
        if not self._end and not self._left:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = head.lower()
            if b"transfer-encoding: chunked" in self._head:
                # Only its last bytes are kept. No text of JSON has a bare line break, so they end nothing else.
                self._end = b"\r\n"
            else:
                at = self._head.index(b"content-length:") + len(b"content-length:")
                self._left = int(self._head[at:].partition(b"\r\n")[0])
        self._loop.received(data)
        if self._end:
            self._end = (self._end + data)[-len(_LAST_CHUNK) :]
            ended = self._end == _LAST_CHUNK
        else:
            self._left -= len(data)
            ended = self._left <= 0
        if ended:
            succeeded = self._head.startswith(b"http/1.1 2")
            started, self._started = self._started, None
            self._head, self._left, self._end = b"", 0, b""
            self._loop.ended(started, succeeded=succeeded)
            self._begin()

    def _begin(self) -> None:
        request = self._loop.next_request()
        if request is not None and self._transport is not None:
            self._started = perf_counter()
            self._transport.write(request)
