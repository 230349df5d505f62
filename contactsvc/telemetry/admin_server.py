"""The admin port: Prometheus metrics over plain HTTP, for a bounded number of connections.

The server has a thread of its own, so that a scrape neither waits for the event loop of the service nor delays it.
Callers are unauthenticated: whatever they send, they cost one thread, `_MAX_CONNECTIONS` descriptors and as many
requests of `_MAX_HEAD_BYTES`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import Future
from email.message import Message
from http import client as http_client
from io import BytesIO
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError

_MAX_CONNECTIONS = 32
_MAX_HEAD_BYTES = 8 * 1024
_READ_TIMEOUT_SECONDS = 5.0
_WRITE_TIMEOUT_SECONDS = 10.0
# Of the thread, when the service stops.
_STOP_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class AdminServer:
    """Context manager that serves the metrics of a registry from its own thread.

    Of more than `_MAX_CONNECTIONS` the one that has been silent for longest is closed, so that a scrape finds room.

    Args:
        registry: the metrics.
        listen: address; port 0 takes a free port.
        read_timeout: seconds for a request to arrive.
        write_timeout: seconds for its answer to be read.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        listen: ListenAddress,
        *,
        read_timeout: float = _READ_TIMEOUT_SECONDS,
        write_timeout: float = _WRITE_TIMEOUT_SECONDS,
    ) -> None:
        self._metrics: Any = make_wsgi_app(registry)
        self._listen = listen
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        # Connections whose request is not complete, oldest first.
        self._silent: dict[asyncio.StreamWriter, None] = {}
        self._open: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> ListenAddress:
        """Start to serve; return the address with its actual port.

        Raises:
            StartupError: the address cannot be bound.
        """
        try:
            listening = _listening_socket(self._listen)
        except OSError as error:
            raise StartupError(
                f"cannot serve metrics on {self._listen}: {error.strerror}; choose another --admin-listen"
            ) from error
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening, started), name="admin", daemon=True)
        self._thread.start()
        started.result()
        address = ListenAddress(self._listen.host, listening.getsockname()[1])
        _log.info("metrics on http://%s/metrics", address)
        return address

    def __exit__(self, *_: object) -> None:
        """Stop to serve, and close all connections."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_TIMEOUT_SECONDS)

    def _run(self, listening: socket.socket, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listening, started))
        except Exception as error:
            _log.error("the admin port has failed: metrics are no longer served", exc_info=error)
            if not started.done():
                started.set_exception(error)

    async def _serve(self, listening: socket.socket, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, sock=listening, limit=_MAX_HEAD_BYTES)
        started.set_result(None)
        await self._stopping.wait()
        # Not `wait_closed`, which waits for the callers from Python 3.12 on.
        server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._silent[writer] = None
        if len(self._open) >= _MAX_CONNECTIONS:
            # The new one itself, if all others are being answered.
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.transport.abort()
        self._open.add(writer)
        try:
            async with asyncio.timeout(self._read_timeout):
                head = await reader.readuntil(b"\r\n\r\n")
            self._silent.pop(writer, None)
            # Blocks this thread, not the service. One scrape after another is enough.
            writer.write(self._answer(head))
            async with asyncio.timeout(self._write_timeout):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The caller is silent, slow, gone, or speaks something else.
            pass
        finally:
            self._silent.pop(writer, None)
            self._open.discard(writer)
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        """Return the HTTP response to a request, given by its head."""
        try:
            environ = _environ(head)
        except (ValueError, http_client.HTTPException):
            return _response("400 Bad Request", [], b"")
        answer: list[Any] = []
        try:
            body = b"".join(self._metrics(environ, lambda status, headers: answer.extend((status, headers))))
        except Exception as error:
            _log.error("the metrics could not be collected", exc_info=error)
            return _response("500 Internal Server Error", [], b"")
        status, headers = answer
        return _response(status, headers, body)


def _listening_socket(listen: ListenAddress) -> socket.socket:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family, backlog=_MAX_CONNECTIONS)


def _environ(head: bytes) -> dict[str, str]:
    """Return what the metrics application reads of a request, as WSGI names it."""
    stream = BytesIO(head)
    method, target, version = stream.readline().decode("ascii").split()
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers: Message = http_client.parse_headers(stream)
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    for name, key in (("Accept", "HTTP_ACCEPT"), ("Accept-Encoding", "HTTP_ACCEPT_ENCODING")):
        if (value := headers.get(name)) is not None:
            environ[key] = value
    return environ


def _response(status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
