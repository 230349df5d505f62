"""The part of HTTP/1.1 that a load generator needs.

It sends prepared requests, and reads the status of an answer and its end: by its length, or by its last chunk.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.closed_loop import ClosedLoop

_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Http1Connection(asyncio.Protocol):
    """A connection with keep-alive and one request in flight; a request has its headers."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._started: float | None = None
        self._head = b""
        self._left = 0
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport
        self._begin()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the call in flight as failed, and make no more."""
        self._loop.stop()
        if self._started is not None:
            self._loop.ended(self._started, succeeded=False)

    def data_received(self, data: bytes) -> None:
        """Read an answer, and send the next request at its end."""
        if self._started is None:
            return
        if not self._end and not self._left:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = head.lower()
            if b"transfer-encoding: chunked" in self._head:
                # The last bytes are enough to find the end: JSON contains no bare line break.
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
