"""The servers that are compared: how each is started, and why one cannot take part."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children, floor, procfs
from benchmarks.children import Child, ChildError
from contactsvc.config import Settings
from contactsvc.store import SCHEMA_VERSION

LABELS: Mapping[str, str] = {
    "floor": "bare grpc.aio echo",
    "contactsvc": "contactsvc",
    "unbatched": "contactsvc, batching off",
    "pymongo": "contactsvc, PyMongo driver",
    "fastapi": "FastAPI + Motor",
    "node": "Node grpc-js + mongodb",
    "driver": "bare Motor",
}
"""What each is called in reports. The bare driver is no server; it runs what batches and streams come down to."""

# The levels of those that are not measured at all of them: what the choice of a driver needs to know.
LEVELS: Mapping[str, tuple[int, ...]] = {"pymongo": (1, 64)}

# How contactsvc is started for a contestant. One process: what several come to is measured by `--workers`.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "contactsvc": {},
    "unbatched": {"CONTACTSVC_BATCHING": "off"},
    "pymongo": {"CONTACTSVC_DRIVER": "pymongo"},
}

_HERE = Path(__file__).parent
_NPM_TIMEOUT = 180


class CannotTakePart(Exception):
    """A server is left out; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A running server.

    Attributes:
        name: its key in `LABELS`.
        protocol: `grpc` or `http`.
        address: where it answers; empty for the bare driver.
        child: its process.
        loop: its event loop.
    """

    name: str
    protocol: str
    address: str
    child: Child
    loop: str


def knows(setting: str) -> bool:
    """Tell whether contactsvc knows a setting."""
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
) -> Contestant:
    """Start a server until the stack ends.

    Args:
        name: which one.
        stack: ends it.
        uri: the database.
        database: its name there, before `_live` and `_test`.
        folder: for its files and its log.
        answers: what the floor answers, by method.
        loop: the event loop of the floor.
        environ: further environment variables.
        port: of the floor, which may share it with others; 0 takes a free one.

    Raises:
        CannotTakePart: something that it needs is missing, or it does not start.
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
        command, protocol = [*python, "benchmarks.fastapi_rival", uri, database], "http"
    elif name == "node":
        await _install_node_packages(folder)
        command = ["node", str(_HERE / "node" / "server.js"), uri, database, str(_HERE.parent / "protos")]
        command.append(str(SCHEMA_VERSION))
    else:
        command = [*python, "benchmarks.bare_driver", uri]
    try:
        child = await stack.enter_async_context(
            children.running(*command, log=folder / f"{name}.log", environ=environ, folder=_HERE.parent)
        )
        address = "" if name == "driver" else await children.announced_address(child)
    except (ChildError, OSError) as error:
        raise CannotTakePart(str(error)) from error
    return Contestant(name=name, protocol=protocol, address=address, child=child, loop=_loop_of(name, child))


def _loop_of(name: str, child: Child) -> str:
    if name == "node":
        return "libuv"
    return "uvloop" if any(procfs.maps_file(pid, "uvloop") for pid in procfs.family(child.pid)) else "asyncio"


def _require(*modules: str) -> None:
    if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
        raise CannotTakePart(f"not installed: {', '.join(missing)} (pip install 'contactsvc[bench]')")


async def _install_node_packages(folder: Path) -> None:
    """Install what the rival in JavaScript needs, once."""
    if shutil.which("node") is None:
        raise CannotTakePart("node is not installed")
    if (_HERE / "node" / "node_modules" / "mongodb").exists():
        return
    if shutil.which("npm") is None:
        raise CannotTakePart("npm is not installed, and so its packages cannot be")
    log = folder / "npm.log"
    with log.open("wb") as output:
        npm = await asyncio.create_subprocess_exec(
            "npm",
            "install",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            cwd=_HERE / "node",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(os.environ),
        )
        try:
            async with asyncio.timeout(_NPM_TIMEOUT):
                code = await npm.wait()
        except TimeoutError:
            npm.kill()
            code = await npm.wait()
    if code != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "error" in line.lower()]
        raise CannotTakePart(f"npm install failed: {' '.join(lines[:2]) or 'no answer'}")
