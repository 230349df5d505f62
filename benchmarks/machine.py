"""The machine of a run, and the versions of the software."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import toolchains

_PACKAGES = (
    "contactsvc", "grpcio", "protobuf", "motor", "pymongo", "SecantusDB", "uvloop", "fastapi", "uvicorn", "pydantic",
)  # fmt: skip
_ROOT = Path(__file__).parent.parent


async def description() -> dict[str, str]:
    """Return machine and versions, by the names that reports show."""
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": await _commit(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": sys.version.split()[0],
        "Node": await _output("node", "--version"),
        "Go": (await _output("go", "env", "GOVERSION")).removeprefix("go"),
        **toolchains.go_module_versions(),
        **toolchains.node_package_versions(),
    }
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {name: value for name, value in found.items() if value}


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


async def _commit() -> str:
    commit = await _output("git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD")
    changed = commit and await _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{commit} and changes" if changed else commit


async def _output(*command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return ""
    output, _ = await process.communicate()
    return output.decode().strip() if process.returncode == 0 else ""
