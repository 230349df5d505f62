"""How many cores this process may use. Knows Linux; elsewhere it is one, for want of a use for more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from math import ceil
from pathlib import Path

_GROUP_OF_THIS_PROCESS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1; 1 where connections cannot be spread over processes.

    That is what `taskset` or a cpuset leave, or less under a quota of CPU time, such as a container's limit.
    """
    if sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), quota(_GROUP_OF_THIS_PROCESS, _GROUPS) or sys.maxsize)


def quota(group_of_this_process: Path, groups: Path) -> int | None:
    """Return to how many cores cgroups (version 2) limit this process, rounded up, or None when they do not.

    Args:
        group_of_this_process: the file that names its group.
        groups: where groups are directories; a limit of one holds for all below it.
    """
    quotas: list[int] = []
    # Without such files, or with words in them that nobody knows, there is no limit that we could tell.
    with suppress(OSError, StopIteration, ValueError):
        lines = group_of_this_process.read_text().splitlines()
        directory = groups / next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        for group in (directory, *directory.parents):
            limit = group / "cpu.max"
            # The topmost group has none.
            if groups in (group, *group.parents) and limit.exists():
                microseconds, period = limit.read_text().split()
                if microseconds != "max":
                    quotas.append(max(1, ceil(int(microseconds) / int(period))))
    return min(quotas, default=None)
