"""Processes of the operating system, from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def with_argument(argument: str) -> list[int]:
    """Return the ids of the processes with this command-line argument."""
    return [pid for pid in _all() if argument.encode() in _read(pid, "cmdline").split(b"\0")]


def children(parent: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    # The name, in parentheses, may contain anything. The state and the parent follow it.
    return [
        pid for pid in _all() if (stat := _read(pid, "stat")) and int(stat.rpartition(b")")[2].split()[1]) == parent
    ]


def open_files(pid: int) -> int:
    """Return the number of open file descriptors of a process."""
    return _count(pid, "fd")


def threads(pid: int) -> int:
    """Return the number of threads of a process."""
    return _count(pid, "task")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    fields = _read(pid, "statm").split()
    return int(fields[1]) * _PAGE if fields else 0


def peak_resident_bytes(pid: int) -> int:
    """Return the most resident memory that a process has had so far."""
    lines = _read(pid, "status").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"VmHWM:")), 0)


def _count(pid: int, name: str) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/{name}"))
    except FileNotFoundError:
        # The process has exited.
        return 0


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        # The process has exited.
        return b""
