"""A full disk: a small file system for the data directory, or a limit on the size of files.

Mounting requires root. The limit does not, and has much the same effect on a process that writes.
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
# Journal files have 10 MB; log files stay below this limit.
_LARGEST_FILE = 9 * 1024 * 1024


class Disk:
    """A file system in memory.

    Attributes:
        path: the mount point.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def mounted(cls, path: Path) -> Iterator[tuple[Disk | None, str]]:
        """Mount a disk until the end of the block; yield it, or None and the reason why it cannot be mounted."""
        path.mkdir(parents=True)
        if os.geteuid() != 0:
            yield None, "mounting a small disk requires root"
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}m,mode=700", "contactsvc-robustness", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            yield None, f"cannot mount a small disk: {done.stderr.strip()}"
            return
        try:
            yield cls(path), ""
        finally:
            subprocess.run(["umount", str(path)], check=True)  # noqa: S607 - of the system

    def fill(self) -> None:
        """Fill it up."""
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
        """Free the space."""
        (self.path / "ballast").unlink(missing_ok=True)


def limit_files(pid: int) -> None:
    """Limit the file size of a process to less than a journal file of the database."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_LARGEST_FILE, resource.RLIM_INFINITY))
