"""A watch over the file descriptors of the process. Each connection takes one, those to the database included.

A server without a free one accepts no connections. gRPC then writes, depending on its release, nothing or one line per
second that names no remedy and is not JSON.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Final, NamedTuple

_INTERVAL_SECONDS = 5.0
_THRESHOLDS = (0.80, 0.95)
# A level ends only this far below its threshold, so that a use that swings around it is one crossing.
_HYSTERESIS = 0.10
_REMEDY = "raise the limit (`ulimit -n`, LimitNOFILE of systemd), or find the callers that open so many connections"

LOW_LIMIT: Final = 1024
"""The usual default of Linux. Lower limits are reported at the start."""

_log = logging.getLogger(__name__)


class DescriptorUsage(NamedTuple):
    """Open file descriptors of the process, and their limit."""

    open: int
    limit: int


def usage() -> DescriptorUsage | None:
    """Return the descriptors in use; None on systems other than Linux, and without a limit."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit <= 0:
        return None
    try:
        # Less the one that reads the directory.
        return DescriptorUsage(len(os.listdir("/proc/self/fd")) - 1, limit)
    except OSError as error:
        # To read the directory takes a descriptor.
        return DescriptorUsage(limit, limit) if error.errno in {errno.EMFILE, errno.ENFILE} else None


class DescriptorWatch:
    """Warns once whenever 80 % or 95 % of the file descriptors are in use.

    Args:
        read: returns the descriptors in use; None if unknown.
    """

    def __init__(self, read: Callable[[], DescriptorUsage | None] = usage) -> None:
        self._read = read
        self._level = 0

    def check_limit(self) -> None:
        """Warn when the limit is low from the start."""
        current = self._read()
        if current is not None and current.limit < LOW_LIMIT:
            _log.warning(
                "the limit of file descriptors is %d; each connection takes one: raise it (`ulimit -n`)", current.limit
            )

    def check(self) -> None:
        """Warn when a threshold has been crossed since the last check."""
        current = self._read()
        if current is None:
            return
        share = current.open / current.limit
        while self._level and share < _THRESHOLDS[self._level - 1] - _HYSTERESIS:
            self._level -= 1
        level = sum(share >= threshold for threshold in _THRESHOLDS)
        if level > self._level:
            self._level = level
            report = _log.error if level == len(_THRESHOLDS) else _log.warning
            report(
                "%d of %d file descriptors are in use; at the limit, no new connection is accepted: %s",
                *current,
                _REMEDY,
            )

    async def run(self) -> None:
        """Check every few seconds until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(_INTERVAL_SECONDS)
