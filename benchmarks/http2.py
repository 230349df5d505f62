"""The part of gRPC over HTTP/2 that a load generator needs, at a third of the CPU of grpc.aio's client.

The client of grpc.aio costs as much CPU per call as the bare server that it measures, on the same cores (README.md).
Only the frames of an answer are decoded: a call has succeeded if a message came before its end, since a gRPC error has
none. Header blocks use HPACK without Huffman coding; the first of a connection adds its headers to the server's table,
the others refer to them, as gRPC's own client does.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from benchmarks.closed_loop import ClosedLoop

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4
_MAX_FRAME_BYTES = 16_384
_MAX_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65_535
_FIRST_DYNAMIC_INDEX = 62


class Http2Connection(asyncio.Protocol):
    """A connection with `slots` calls of one method in flight.

    Args:
        loop: hands out the requests, and records the outcomes.
        path: of the method.
        authority: the address of the server.
        metadata: headers of every call.
        slots: concurrent calls.
    """

    def __init__(
        self, loop: ClosedLoop, path: str, authority: str, metadata: Sequence[tuple[str, str]], slots: int
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._first_headers, self._other_headers = _header_blocks(path, authority, metadata)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._rest = b""
        self._stream = -1
        self._started: dict[int, float] = {}
        self._answered: set[int] = set()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._window = _DEFAULT_WINDOW
        self._unacknowledged = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and the first requests."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport
        self._out.append(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, _MAX_WINDOW)))
        self._out.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _MAX_WINDOW - _DEFAULT_WINDOW)))
        for _ in range(self._slots):
            self._begin()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the calls in flight as failed, and make no more."""
        self._loop.stop()
        for started in self._started.values():
            self._loop.ended(started, succeeded=False)
        for _, started in self._waiting:
            self._loop.ended(started, succeeded=False)

    def data_received(self, data: bytes) -> None:
        """Read frames, and start a call for each that has ended."""
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while end - at >= 9:
            stop = at + 9 + int.from_bytes(buffer[at : at + 3], "big")
            if stop > end:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            self._take(buffer[at + 3], buffer[at + 4], stream, buffer[at + 9 : stop])
            at = stop
        self._rest = buffer[at:]
        self._flush()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._answered.add(stream)
            self._loop.received(payload)
            self._unacknowledged += len(payload)
            if self._unacknowledged > _MAX_WINDOW // 4:
                self._out.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._unacknowledged)))
                self._unacknowledged = 0
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._end(stream, succeeded=stream in self._answered)
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
                while self._waiting and len(self._waiting[0][0]) <= self._window:
                    self._send(*self._waiting.popleft())
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._out.append(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING:
            if not flags & _ACK:
                self._out.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM:
            if stream in self._started:
                self._end(stream, succeeded=False)
        elif kind == _GOAWAY and self._transport is not None:
            self._transport.close()

    def _end(self, stream: int, *, succeeded: bool) -> None:
        self._answered.discard(stream)
        self._loop.ended(self._started.pop(stream), succeeded=succeeded)
        self._begin()

    def _begin(self) -> None:
        message = self._loop.next_request()
        if message is None:
            return
        data = b"\0" + struct.pack(">I", len(message)) + message
        if len(data) > self._window or self._waiting:
            self._waiting.append((data, perf_counter()))
        else:
            self._send(data, perf_counter())

    def _send(self, data: bytes, started: float) -> None:
        self._stream += 2
        self._started[self._stream] = started
        headers = self._first_headers if self._stream == 1 else self._other_headers
        self._out.append(_frame(_HEADERS, _END_HEADERS, self._stream, headers))
        for at in range(0, len(data), _MAX_FRAME_BYTES):
            part = data[at : at + _MAX_FRAME_BYTES]
            is_last = at + len(part) == len(data)
            self._out.append(_frame(_DATA, _END_STREAM if is_last else 0, self._stream, part))
        self._window -= len(data)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()


def messages(body: bytes) -> list[bytes]:
    """Return the gRPC messages in the body of an answer."""
    found, at = [], 0
    while at < len(body):
        length = int.from_bytes(body[at + 1 : at + 5], "big")
        found.append(body[at + 5 : at + 5 + length])
        at += 5 + length
    return found


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _header_blocks(path: str, authority: str, metadata: Sequence[tuple[str, str]]) -> tuple[bytes, bytes]:
    """Return the block of the first call of a connection and of the others; see RFC 7541, section 6."""
    # Indexes of the static table: :method POST and :scheme http.
    always = b"\x83\x86"
    named = [b"\x44" + _text(path), b"\x41" + _text(authority), b"\x5f" + _text("application/grpc")]
    others = [("te", "trailers"), ("user-agent", "contactsvc-benchmarks"), *metadata]
    named += [b"\x40" + _text(name) + _text(value) for name, value in others]
    indexes = range(_FIRST_DYNAMIC_INDEX, _FIRST_DYNAMIC_INDEX + len(named))
    return always + b"".join(named), always + bytes(0x80 | index for index in reversed(indexes))


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 126:
        raise ValueError("header longer than 126 bytes")
    return bytes([len(raw)]) + raw
