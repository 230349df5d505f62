"""Processes in /proc: CPU time, memory, children, listeners. Linux only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTENING = "0A"


def cpu_seconds(pids: list[int]) -> float:
    """Return the user and system time of these processes, in steps of 10 ms; those that have ended count 0."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            user, system = _stat(pid)[11:13]
            ticks += int(user) + int(system)
    return ticks / _TICKS


def machine_cpu_seconds() -> float:
    """Return the busy time of all processors, including time stolen by the host."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice.
    return (sum(fields[:8]) - sum(fields[3:5])) / _TICKS


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def resident_bytes(pids: list[int]) -> int:
    """Return the resident memory of these processes; shared pages count for each."""
    size = 0
    for pid in pids:
        with suppress(OSError):
            size += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return size * os.sysconf("SC_PAGE_SIZE")


def maps_file(pid: int, part: str) -> bool:
    """Return whether the process has mapped a file with this text in its path, such as an extension module."""
    return part in Path(f"/proc/{pid}/maps").read_text()


def listener(port: int) -> int | None:
    """Return the process that listens on this TCP port; None if it is not visible here."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                for descriptor in (entry / "fd").iterdir():
                    with suppress(OSError):
                        if str(descriptor.readlink()) in sockets:
                            return int(entry.name)
    return None


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; the name before it may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
