"""A TCP proxy with injectable faults, between clients and a service or between a service and its database.

It forwards answers one by one, and so can drop one: the request has taken effect, and the client gets no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

ReadAnswer = Callable[[asyncio.StreamReader], Awaitable[tuple[bytes, bool]]]
"""Reads the next unit sent back, and returns it and whether it starts an answer."""

_HTTP2_HEADER = 9
_HTTP2_HEADERS = 0x1
_MONGODB_HEADER = 16


async def http2_frame(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Read an HTTP/2 frame (RFC 9113, 4.1). Settings and acknowledgements start no answer."""
    header = await reader.readexactly(_HTTP2_HEADER)
    payload = await reader.readexactly(int.from_bytes(header[:3]))
    return header + payload, header[3] == _HTTP2_HEADERS


async def mongodb_message(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Read a message of MongoDB's wire protocol. A reply to `hello` is not an answer."""
    header = await reader.readexactly(_MONGODB_HEADER)
    payload = await reader.readexactly(int.from_bytes(header[:4], "little") - _MONGODB_HEADER)
    return header + payload, b"maxWireVersion" not in payload


class Proxy:
    """Forwards bytes in both directions, subject to faults.

    Attributes:
        upstream: the server, HOST:PORT; a change affects new connections.
        target: the address for clients.
        drops: the number of answers still to be dropped, together with their connections.
        dropped: the number of dropped answers.
        latency: the delay of each unit of an answer, in seconds.
        flowing: cleared to hold all bytes back.
        cut_after: the number of bytes, of all answers together, after which a connection is cut; None cuts none.
        refuses: whether to close new connections at once.
    """

    def __init__(self, upstream: str, read_answer: ReadAnswer) -> None:
        self.upstream = upstream
        self.target = ""
        self.drops = 0
        self.dropped = 0
        self.latency = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.cut_after: int | None = None
        self.refuses = False
        self._read_answer = read_answer
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task that `stop` can cancel; asyncio logs the cancellation of its own tasks."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.upstream.rpartition(":")
        ends = [writer]
        try:
            if self.refuses:
                return
            await self.flowing.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
            ends.append(upstream_writer)
            requests = asyncio.create_task(self._forward_requests(reader, upstream_writer))
            answers = asyncio.create_task(self._forward_answers(upstream_reader, writer))
            try:
                # Neither protocol works with one direction only.
                await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in (requests, answers):
                    direction.cancel()
                await asyncio.gather(requests, answers, return_exceptions=True)
        except OSError:
            # The server is unreachable: close the connection of the client, too.
            return
        finally:
            for end in ends:
                end.close()

    def reset(self) -> int:
        """Reset all connections; return their number."""
        for writer in self._connections.values():
            writer.transport.abort()
        return len(self._connections)

    async def stop(self) -> None:
        """Close all connections."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                await self.flowing.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return

    async def _forward_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                part, is_answer = await self._read_answer(reader)
                if is_answer and self.drops:
                    self.drops -= 1
                    self.dropped += 1
                    return
                if self.latency:
                    await asyncio.sleep(self.latency)
                await self.flowing.wait()
                if self.cut_after is not None:
                    left = self.cut_after - len(part)
                    if left < 0:
                        writer.write(part[: self.cut_after])
                        self.cut_after = None
                        return
                    self.cut_after = left
                writer.write(part)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return


@asynccontextmanager
async def proxied(upstream: str, read_answer: ReadAnswer = http2_frame) -> AsyncIterator[Proxy]:
    """Run a proxy on a free port in front of a server."""
    proxy = Proxy(upstream, read_answer)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.target = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
