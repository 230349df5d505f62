"""A TCP proxy between a client and the service that loses answers: the service has done its work, and nobody hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FRAME_HEADER = 9
_HEADERS = 0x1


class AnswerDroppingProxy:
    """Forwards bytes both ways, and closes the client's connection instead of forwarding the next answers.

    Attributes:
        target: where clients connect to.
        drops: how many answers are still to be lost.
        dropped: how many have been lost.
    """

    def __init__(self, service: str) -> None:
        self._host, _, port = service.rpartition(":")
        self._port = int(port)
        self._connections: set[asyncio.Task[None]] = set()
        self.target = ""
        self.drops = 0
        self.dropped = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        requests = asyncio.create_task(_forward(reader, upstream_writer))
        try:
            await self._forward_answers(upstream_reader, writer)
        finally:
            requests.cancel()
            for end in (writer, upstream_writer):
                end.close()
            self._connections.discard(task)

    async def stop(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _forward_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Frame by frame (RFC 9113, 4.1), since settings and acknowledgements are no answers.
        try:
            while True:
                header = await reader.readexactly(_FRAME_HEADER)
                payload = await reader.readexactly(int.from_bytes(header[:3]))
                if header[3] == _HEADERS and self.drops:
                    self.drops -= 1
                    self.dropped += 1
                    return
                writer.write(header + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        return


@asynccontextmanager
async def dropping_answers(service: str) -> AsyncIterator[AnswerDroppingProxy]:
    """Run a proxy on a free port in front of a service."""
    proxy = AnswerDroppingProxy(service)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.target = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
