"""The standard streams, for programs that are started without some of them, or whose reader has gone.

A missing descriptor would be taken by the next file or socket that is opened, and libuv ends a process in which that
is an event loop's own.
"""

from __future__ import annotations

import os
import sys

import click

from contactsvc.errors import StartupError

_INPUT, _OUTPUT, _ERRORS = range(3)
# Nothing can be read, what is told about the work is lost, but results are not written into nothing in silence: a
# descriptor that is open for reading refuses them.
_MODES = {_INPUT: os.O_RDONLY, _OUTPUT: os.O_RDONLY, _ERRORS: os.O_WRONLY}


class NotPrinted(StartupError):
    """What was to be printed on standard output could not be; the message says why."""


def open_missing() -> None:
    """See to it that there are descriptors 0 to 2, and the streams of `sys` on them."""
    for descriptor, mode in _MODES.items():
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest one that is free, which is this one: those below it are there.
            os.set_inheritable(os.open(os.devnull, mode), True)
    # None when Python has found the descriptor missing at its start.
    sys.stdin = sys.stdin or open(_INPUT, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(_OUTPUT, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_ERRORS, "w", buffering=1, closefd=False)  # noqa: SIM115


def print_line(text: str) -> None:
    """Print a line on standard output, at once.

    Raises:
        NotPrinted: it could not be written, such as when the disk is full or the reader has gone.
    """
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again at the interpreter's end, which has an exit code of its own.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, _OUTPUT)
        os.close(nothing)
        raise NotPrinted(f"standard output cannot be written: {error.strerror}") from error
