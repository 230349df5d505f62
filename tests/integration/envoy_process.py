"""Envoy as a process, with the configuration of deploy/envoy, and a client for what it speaks."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "envoy"
# From the extra `envoy`, in the environment of the tests, which need not be on the PATH.
BINARY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
needs_envoy = pytest.mark.skipif(
    BINARY is None, reason="Envoy is not installed: the extra `envoy` has no wheel for this platform"
)
# Far above what anything here takes: a machine may be busy.
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Envoy:
    """A running Envoy, by the address of its listener and the socket of its admin interface."""

    address: str
    admin_socket: Path

    async def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request over HTTP/1.1. A body other than bytes is sent as JSON."""
        sent = {} if headers is None else dict(headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        return await asyncio.to_thread(_exchange, http.client.HTTPConnection(self.address), method, path, body, sent)

    async def stat(self, name: str) -> int:
        """Return a counter or gauge of Envoy."""
        answer = await _admin(self.admin_socket, f"/stats?filter=^{name}$")
        return int(answer.body.decode().rpartition(":")[2])

    async def until(self, name: str, condition: Callable[[int], bool]) -> None:
        """Wait until a counter or gauge fulfils a condition."""

        async def fulfilled() -> bool:
            return condition(await self.stat(name))

        await _until(fulfilled)


@asynccontextmanager
async def running_envoy(
    target: str, folder: Path, change: Callable[[dict[str, Any]], None] = lambda configuration: None
) -> AsyncIterator[Envoy]:
    """Run Envoy on a free port, in front of the service at `target`.

    Args:
        target: the address of the service.
        folder: an empty folder for the configuration and the admin socket.
        change: what else the test changes in the configuration.
    """
    assert BINARY is not None
    configuration = yaml.safe_load((FOLDER / "envoy.yaml").read_text())
    host, _, port = target.rpartition(":")
    for address, (name, number) in zip(_addresses(configuration), (("127.0.0.1", 0), (host, int(port))), strict=True):
        address.update(address=name, port_value=number)
    change(configuration)
    (folder / "envoy.yaml").write_text(yaml.safe_dump(configuration))
    shutil.copy(FOLDER / "contactsvc.binpb", folder)
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(BINARY, "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    admin = folder / "admin.sock"
    try:

        async def ready() -> bool:
            if process.returncode is not None:
                pytest.fail(f"Envoy ended with {process.returncode}:\n{(folder / 'envoy.log').read_text()}")
            try:
                return (await _admin(admin, "/ready")).body == b"LIVE\n"
            except OSError:
                return False

        await _until(ready)
        (listener,) = (await _admin(admin, "/listeners?format=json")).json["listener_statuses"]
        bound = listener["local_address"]["socket_address"]
        yield Envoy(f"{bound['address']}:{bound['port_value']}", admin)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def framed(message: bytes) -> bytes:
    """Return a message as gRPC and gRPC-Web send it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def grpc_web_answer(body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """Return the messages and the trailers of a gRPC-Web response."""
    messages, trailers = [], {}
    for flags, payload in _frames(body):
        if flags & 0x80:
            lines = payload.decode().split("\r\n")
            trailers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        else:
            messages.append(payload)
    return messages, trailers


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> Answer:
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


async def _admin(path: Path, request: str) -> Answer:
    return await asyncio.to_thread(_exchange, _UnixConnection(path), "GET", request, None, {})


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while not await condition():  # noqa: ASYNC110 - the condition depends on another process
            await asyncio.sleep(0.02)


def _addresses(configuration: Any) -> Iterator[dict[str, Any]]:
    """Return where Envoy listens, and where the service does."""
    resources = configuration["static_resources"]
    (listener,), (cluster,) = resources["listeners"], resources["clusters"]
    yield listener["address"]["socket_address"]
    ((endpoint,),) = (group["lb_endpoints"] for group in cluster["load_assignment"]["endpoints"])
    yield endpoint["endpoint"]["address"]["socket_address"]


def _frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        yield flags, body[5 : 5 + size]
        body = body[5 + size :]
