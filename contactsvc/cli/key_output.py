"""The output of a new API key: standard output, or a file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contactsvc.cli import stdio
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError

_OWNER_ONLY = 0o600


@contextmanager
def written_to(path: Path | None, key: str) -> Iterator[None]:
    """Write a key to a new file with mode 0600; remove the file when the block fails.

    Args:
        path: the file; None writes nothing.
        key: its only line.

    Raises:
        ConfigurationError: something of this name exists, a broken link included.
        StartupError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists, and --output overwrites nothing; name a new file") from None
    except OSError as error:
        raise StartupError(f"cannot create {path}: {error.strerror}") from error
    try:
        _fill(descriptor, path, key)
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def print_key(key: str, undo: Callable[[], None], *, undone: str, otherwise: str) -> None:
    """Print a key on standard output; when that fails, undo its making, since nobody has seen it.

    Args:
        key: the line to print.
        undo: withdraws the key.
        undone: the effect of `undo`, for the error message.
        otherwise: what to do if `undo` fails, for the error message.

    Raises:
        StartupError: it has not been printed.
    """
    try:
        stdio.print_line(key)
    except stdio.NotPrinted as error:
        try:
            undo()
        except (StartupError, ContactsvcError) as failure:
            raise StartupError(
                f"{error}, so the key is lost, and withdrawing it failed ({failure}); {otherwise}"
            ) from error
        raise StartupError(f"{error}, so the key is lost; {undone}") from error


def _fill(descriptor: int, path: Path, key: str) -> None:
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from error
