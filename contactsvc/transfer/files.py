"""The files of an export and an import: opened without waiting, and replaced only when complete."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.transfer.sources import UnreadableFile


@contextmanager
def input_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file; raise StartupError when that fails."""
    with reading(path):
        # Opening a pipe must not wait for its writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StartupError(
                f"cannot import {path}: not a regular file. An import reads its file twice; save the output of a pipe "
                f"to a file first"
            )
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise a file that cannot be read, or is in another format, as StartupError."""
    try:
        yield
    except UnreadableFile as error:
        raise StartupError(f"cannot import {path}: {error}") from error
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror}") from error


def check_output(path: Path) -> None:
    """Raise ConfigurationError when the path is taken by something other than a regular file."""
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"cannot write {path}: not a regular file; for a pipe, redirect standard output")


@contextmanager
def output_file(path: Path | None) -> Iterator[IO[bytes]]:
    """Open a file that only its owner can read, and that takes its name when the block completes.

    Args:
        path: the file; None is standard output.

    Raises:
        StartupError: writing failed.
    """
    try:
        if path is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        # A symbolic link stays one, and its target is replaced.
        target = Path(os.path.realpath(path))
        # A unique name: concurrent exports to one file must not share an unfinished one.
        descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise StartupError(f"cannot write {path or 'to standard output'}: {error.strerror}") from error
