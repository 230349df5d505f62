"""`contactsvc serve` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DRIVER


@dataclass(frozen=True)
class ServiceProcess:
    """A service that accepts calls."""

    process: asyncio.subprocess.Process
    address: str

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit code, the remaining output, and the errors."""
        self.process.send_signal(number)
        return await ended(self.process)


async def launch(*flags: str, **environ: str) -> asyncio.subprocess.Process:
    """Start `contactsvc serve`, by default on a free port, in one process, and with no other setting."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "contactsvc",
        "serve",
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **clean,
            "CONTACTSVC_LISTEN": "127.0.0.1:0",
            "CONTACTSVC_WORKERS": "1",
            "CONTACTSVC_DRIVER": DRIVER,
            **environ,
        },
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Wait for the end; return the exit code, the output and the errors."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running_service(data_dir: Path, *flags: str) -> AsyncIterator[ServiceProcess]:
    """Run a service on the embedded database until the end of the block."""
    process = await launch("--data-dir", str(data_dir), *flags)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line.startswith("contactsvc listening on "):
        raise AssertionError(await ended(process))
    try:
        yield ServiceProcess(process, line.split()[-1])
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
