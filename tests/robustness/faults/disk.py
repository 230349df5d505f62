"""A disk without room: a small one of its own for the data directory, or a limit on the size of files.

To mount a disk takes root. The limit does not, and looks much the same to a process that writes.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 1024
_CHUNK = 64 * 1024
# The parts of the journal have 10 MB; the log stays below this.
_LARGEST_FILE = 9 * 1024 * 1024


class Disk:
    """A file system in memory.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def mounted(cls, path: Path) -> Iterator[tuple[Disk | None, str]]:
        """Mount one until the end of the block; yield it, or None and why that is not possible."""
        path.mkdir(parents=True)
        if os.geteuid() != 0:
            yield None, "only root may mount a small disk to fill up"
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}m,mode=700", "contactsvc-robustness", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            yield None, f"cannot mount a small disk to fill up: {done.stderr.strip()}"
            return
        try:
            yield cls(path), ""
        finally:
            subprocess.run(["umount", str(path)], check=True)  # noqa: S607 - of the system

    def fill(self) -> None:
        """Leave no room on it."""
        with (self.path / "ballast").open("wb") as ballast:
            size = 0
            step = 16 * 1024 * 1024
            while step >= _CHUNK // 16:
                try:
                    os.posix_fallocate(ballast.fileno(), size, step)
                    size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def make_room(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)


def limit_files(pid: int) -> None:
    """Make every write of a process fail that makes a file larger than a part of the database's journal may be."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_LARGEST_FILE, resource.RLIM_INFINITY))
