"""A client that speaks HTTP/2 frames by itself, and so may leave requests unfinished and answers unread."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_INITIAL_WINDOW_SIZE = 4
_CANCEL = 8
_MAX_FRAME_BYTES = 16_384
DEFAULT_WINDOW = 65_535


@dataclass
class Stream:
    """What has arrived of one call.

    Attributes:
        received: bytes of data.
        ended: whether the server has ended its half, or reset the stream.
        window: bytes that may still be sent.
    """

    received: int = 0
    ended: bool = False
    window: int = DEFAULT_WINDOW


@dataclass
class RawConnection:
    """A connection; `opened` makes one.

    Attributes:
        streams: the calls by their stream ids.
        closed: whether the server has closed the connection.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    streams: dict[int, Stream] = field(default_factory=dict)
    closed: bool = False
    window: int = DEFAULT_WINDOW
    initial_window: int = DEFAULT_WINDOW
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def call(self, path: str, message: bytes, headers: tuple[tuple[str, str], ...] = ()) -> int:
        """Send a whole request; return the id of its stream."""
        stream = await self.begin(path, headers)
        await self.send(stream, prefixed(message), end=True)
        return stream

    async def begin(self, path: str, headers: tuple[tuple[str, str], ...] = ()) -> int:
        """Send the headers of a request; return the id of its stream."""
        stream = 2 * len(self.streams) + 1
        self.streams[stream] = Stream(window=self.initial_window)
        fields = [
            *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")),
            *(("te", "trailers"), ("content-type", "application/grpc"), *headers),
        ]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        await self._send(_HEADERS, _END_HEADERS, stream, block)
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool) -> None:
        """Send data as far as the windows of the server allow; wait for them."""
        state = self.streams[stream]
        while data:
            async with self.changed:
                await self.changed.wait_for(lambda: state.ended or self.closed or min(state.window, self.window) > 0)
            if state.ended or self.closed:
                return
            size = min(state.window, self.window, _MAX_FRAME_BYTES, len(data))
            state.window -= size
            self.window -= size
            piece, data = data[:size], data[size:]
            await self._send(_DATA, _END_STREAM if end and not data else 0, stream, piece)

    async def allow(self, stream: int, size: int) -> None:
        """Let the server send more bytes, on the stream and on the connection."""
        for number in (0, stream):
            await self._send(_WINDOW_UPDATE, 0, number, struct.pack(">I", size))

    async def reset(self, stream: int) -> None:
        """Cancel a call."""
        await self._send(_RST_STREAM, 0, stream, struct.pack(">I", _CANCEL))

    async def ended(self, stream: int) -> None:
        """Wait until the server has ended a call."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.streams[stream].ended or self.closed)

    async def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.writer.write(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)
        await self.writer.drain()

    async def follow(self) -> None:
        """Take in what the server sends, until it closes the connection."""
        try:
            while True:
                head = await self.reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await self.reader.readexactly(int.from_bytes(head[:3]))
                await self._take_in(kind, flags, stream, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            async with self.changed:
                self.closed = True
                self.changed.notify_all()

    async def _take_in(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self.streams.get(number, Stream())
        if kind == _SETTINGS and not flags & _ACK:
            for begin in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[begin : begin + 6])
                if name == _INITIAL_WINDOW_SIZE:
                    for one in self.streams.values():
                        one.window += value - self.initial_window
                    self.initial_window = value
            await self._send(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            await self._send(_PING, _ACK, 0, payload)
        elif kind == _DATA:
            stream.received += len(payload)
        elif kind == _WINDOW_UPDATE:
            (size,) = struct.unpack(">I", payload)
            if number:
                stream.window += size
            else:
                self.window += size
        elif kind == _GOAWAY:
            return
        stream.ended |= kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM))
        async with self.changed:
            self.changed.notify_all()


@asynccontextmanager
async def opened(target: str, *, window: int = DEFAULT_WINDOW) -> AsyncIterator[RawConnection]:
    """Connect; `window` bytes of each answer may arrive."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = RawConnection(reader, writer)
    writer.write(_PREFACE + b"\0\0\6" + struct.pack(">BBIHI", _SETTINGS, 0, 0, _INITIAL_WINDOW_SIZE, window))
    following = asyncio.create_task(connection.follow())
    try:
        yield connection
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        writer.close()


def prefixed(message: bytes, length: int | None = None) -> bytes:
    """Return a message with gRPC's prefix, which may announce another length."""
    return b"\0" + struct.pack(">I", len(message) if length is None else length) + message


def _text(text: str) -> bytes:
    """Return a string in HPACK, uncompressed."""
    raw = text.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, length = len(raw) - 127, b"\x7f"
    while rest >= 128:
        length += bytes([rest % 128 + 128])
        rest //= 128
    return length + bytes([rest]) + raw
