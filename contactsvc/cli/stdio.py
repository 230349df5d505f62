"""Standard streams, for processes that start without some of them or whose reader has closed the pipe.

The next file or socket that is opened would take the number of a missing descriptor, and libuv aborts the process when
descriptor 0, 1 or 2 belongs to an event loop.
"""

from __future__ import annotations

import os
import sys

import click

from contactsvc.errors import StartupError

_STDIN, _STDOUT, _STDERR = range(3)
# Input is empty and messages about the work are discarded, but results must not vanish: standard output is opened for
# reading only, so that writing to it fails.
_OPEN_MODES = {_STDIN: os.O_RDONLY, _STDOUT: os.O_RDONLY, _STDERR: os.O_WRONLY}


class NotPrinted(StartupError):
    """Standard output cannot be written; the message gives the reason."""


def open_missing() -> None:
    """Open /dev/null as each of the descriptors 0 to 2 that is missing, and set the streams of `sys`."""
    for descriptor, mode in _OPEN_MODES.items():
        try:
            os.fstat(descriptor)
        except OSError:
            # The system assigns the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, mode), True)
    # Python sets a stream to None when its descriptor is missing at startup.
    sys.stdin = sys.stdin or open(_STDIN, closefd=False)  # noqa: SIM115 - open for the life of the process
    sys.stdout = sys.stdout or open(_STDOUT, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_STDERR, "w", buffering=1, closefd=False)  # noqa: SIM115


def print_line(text: str) -> None:
    """Print a line on standard output and flush it.

    Raises:
        NotPrinted: it cannot be written, for example because the disk is full or the reader has closed the pipe.
    """
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer would fail again when the interpreter exits, and change the exit code.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, _STDOUT)
        os.close(null)
        raise NotPrinted(f"cannot write to standard output: {error.strerror}") from error
