"""Number of CPU cores that this process may use; Linux only, 1 elsewhere."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from math import ceil
from pathlib import Path

_MEMBERSHIP_FILE = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores for worker processes, at least 1.

    The CPU affinity (`taskset`, cpusets) bounds it, and so does a CPU quota, such as the limit of a container. It is 1
    on systems other than Linux, which cannot distribute the connections of a port over processes.
    """
    if sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), quota(_MEMBERSHIP_FILE, _CGROUP_ROOT) or sys.maxsize)


def quota(membership_file: Path, root: Path) -> int | None:
    """Return the CPU quota of this process in cores, rounded up; None without a limit. Reads cgroups version 2.

    Args:
        membership_file: names the cgroup of the process, as /proc/self/cgroup does.
        root: directory of the cgroup hierarchy. The limit of a cgroup applies to all cgroups below it.
    """
    quotas: list[int] = []
    # Missing or unparsable cgroup files mean no known limit.
    with suppress(OSError, StopIteration, ValueError):
        lines = membership_file.read_text().splitlines()
        directory = root / next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        for group in (directory, *directory.parents):
            limit = group / "cpu.max"
            # The root cgroup has no such file.
            if root in (group, *group.parents) and limit.exists():
                microseconds, period = limit.read_text().split()
                if microseconds != "max":
                    quotas.append(max(1, ceil(int(microseconds) / int(period))))
    return min(quotas, default=None)
