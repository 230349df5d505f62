"""Child processes: started outside the terminal's process group, and always stopped by their id.

The parent uses `running`; Python children use `end_with_parent`, so that none outlives a parent that was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 15.0
_MAX_LINE_BYTES = 1 << 20


class ChildError(Exception):
    """A child did not start, or has ended."""


class Child:
    """A running child, with lines as requests and answers."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def line(self) -> str:
        """Return its next line; raise ChildError if it ends instead."""
        assert self._process.stdout is not None  # noqa: S101  # it was started with a pipe
        line = (await self._process.stdout.readline()).decode()
        if not line:
            raise ChildError(f"ended: {_tail(self._log)}")
        return line.strip()

    async def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command as a line of JSON; return the answer."""
        assert self._process.stdin is not None  # noqa: S101  # it was started with a pipe
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        answer: dict[str, Any] = json.loads(await self.line())
        return answer


@asynccontextmanager
async def running(
    *command: str, log: Path, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> AsyncGenerator[Child]:
    """Run a command until the end of the block; its standard error goes to the file `log`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**clean, **(environ or {})},
            cwd=folder,
            limit=_MAX_LINE_BYTES,
            # Ctrl-C reaches the parent alone, which stops the children in order.
            start_new_session=True,
        )
    try:
        yield Child(process, log)
    finally:
        await asyncio.shield(_end(process))


async def announced_address(child: Child) -> str:
    """Wait for the line `... listening on HOST:PORT` of a server; return the address."""
    try:
        async with asyncio.timeout(_START_TIMEOUT_SECONDS):
            while " listening on " not in (line := await child.line()):
                pass
    except TimeoutError:
        raise ChildError("printed no address within the timeout") from None
    return line.split()[-1]


def end_with_parent() -> None:
    """In a child that reads no input: send SIGTERM to this process when its parent has ended."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def say(line: str) -> None:
    """In a child: send a line to the parent at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    # After its end: earlier, the child would take it for the end of its parent.
    if process.stdin is not None:
        process.stdin.close()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "no message"
