"""The servers to compare, and how each is started."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children, floor, procfs, toolchains
from benchmarks.children import Child, ChildError
from benchmarks.toolchains import ServerUnavailable
from contactsvc.config import Settings
from contactsvc.store import SCHEMA_VERSION

LABELS: Mapping[str, str] = {
    "floor": "bare grpc.aio echo",
    "contactsvc": "contactsvc",
    "unbatched": "contactsvc, batching off",
    "pymongo": "contactsvc, PyMongo driver",
    "fastapi": "FastAPI + Motor",
    "node": "Node grpc-js + mongodb",
    "go": "Go grpc-go + mongo-driver",
    "driver": "bare Motor",
}
"""Their names in reports. The bare driver is not a server: it runs the database commands behind batches and streams."""

PEERS = ("fastapi", "node", "go")
"""Plain services over the same data, in other frameworks and languages."""

# The levels of servers that are not measured at all of them: those that the choice of a driver depends on.
LEVELS: Mapping[str, tuple[int, ...]] = {"pymongo": (1, 64)}

# How each contactsvc is started. One process: `--workers` measures several.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "contactsvc": {},
    "unbatched": {"CONTACTSVC_BATCHING": "off"},
    "pymongo": {"CONTACTSVC_DRIVER": "pymongo"},
}

_SCHEDULERS: Mapping[str, str] = {"node": "libuv", "go": "goroutines"}

_ROOT = Path(__file__).parent.parent
# The peers in other languages name it for new documents.
_SCHEMA = str(SCHEMA_VERSION)


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A running server.

    Attributes:
        name: its key in `LABELS`.
        protocol: `grpc` or `http`.
        address: HOST:PORT; empty for the bare driver.
        child: its process.
        loop: the name of its event loop or scheduler.
    """

    name: str
    protocol: str
    address: str
    child: Child
    loop: str


def knows(setting: str) -> bool:
    """Return whether this release of contactsvc has a setting."""
    return any(field.name == setting for field in dataclasses.fields(Settings))


async def start(
    name: str,
    stack: AsyncExitStack,
    *,
    uri: str,
    database: str,
    folder: Path,
    answers: Mapping[str, bytes | list[bytes]],
    loop: str,
    environ: Mapping[str, str] | None = None,
    port: str = "0",
) -> RunningServer:
    """Start a server until the stack ends.

    Args:
        name: its key in `LABELS`.
        stack: stops it.
        uri: the MongoDB URI.
        database: the name of the database before `_live` and `_test`.
        folder: for its files and its log.
        answers: the answers of the floor, by method.
        loop: the event loop of the floor.
        environ: additional environment variables.
        port: of the floor, which may share it with other floors; 0 takes a free one.

    Raises:
        ServerUnavailable: a dependency is missing, or the server does not start.
    """
    python, protocol = [sys.executable, "-m"], "grpc"
    if name in _SETTINGS:
        command = [*python, "contactsvc", "serve", "--mongodb-uri", uri, "--database", database]
        command += ["--listen", "127.0.0.1:0"]
        environ = {"CONTACTSVC_WORKERS": "1", **_SETTINGS[name], **(environ or {})}
    elif name == "floor":
        path = folder / "answers.json"
        floor.write_answers(path, answers)
        command = [*python, "benchmarks.floor", str(path), loop, port]
    elif name == "fastapi":
        _require("fastapi", "uvicorn", "pydantic")
        command, protocol = [*python, "benchmarks.fastapi_peer", uri, database], "http"
    elif name == "node":
        await toolchains.install_node_packages(folder)
        script, protos = toolchains.NODE_FOLDER / "server.js", _ROOT / "protos"
        command = ["node", str(script), uri, database, str(protos), _SCHEMA]
    elif name == "go":
        command = [str(await toolchains.build_go_peer(folder)), uri, database, _SCHEMA]
    else:
        command = [*python, "benchmarks.bare_driver", uri]
    try:
        child = await stack.enter_async_context(
            children.running(*command, log=folder / f"{name}.log", environ=environ, folder=_ROOT)
        )
        address = "" if name == "driver" else await children.announced_address(child)
    except (ChildError, OSError) as error:
        raise ServerUnavailable(str(error)) from error
    return RunningServer(name=name, protocol=protocol, address=address, child=child, loop=_loop_of(name, child))


def _loop_of(name: str, child: Child) -> str:
    if name in _SCHEDULERS:
        return _SCHEDULERS[name]
    return "uvloop" if any(procfs.maps_file(pid, "uvloop") for pid in procfs.family(child.pid)) else "asyncio"


def _require(*modules: str) -> None:
    if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
        raise ServerUnavailable(f"not installed: {', '.join(missing)} (pip install 'contactsvc[bench]')")
