"""How commands run and end: coroutines, error lines, exit codes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from contactsvc.errors import ContactsvcError, StartupError

_T = TypeVar("_T")

FAILED = 1
"""Exit code of every failure other than bad configuration and wrong usage, which are 2."""


def print_error(message: str, _exit_code: int = FAILED) -> None:
    """Print the line on standard error that explains why the process ends."""
    click.echo(f"contactsvc: {message}", err=True)


@contextmanager
def exit_codes(on_failure: Callable[[str, int], None] = print_error) -> Iterator[None]:
    """End the process with an exit code and a one-line explanation when the block fails.

    Args:
        on_failure: called with the explanation and the exit code before the process ends.
    """
    try:
        yield
    except (StartupError, ContactsvcError) as error:
        code = error.exit_code if isinstance(error, StartupError) else FAILED
        on_failure(str(error), code)
        sys.exit(code)
    except Exception as error:
        # The text of the exception may quote a contact value.
        on_failure(f"unexpected {type(error).__name__}; the log may have details", FAILED)
        sys.exit(FAILED)


def run_until_terminated(work: Coroutine[Any, Any, _T], if_interrupted: str) -> _T:
    """Run a coroutine and return its result; SIGTERM cancels it as Ctrl-C does, so that it cleans up.

    Args:
        work: the coroutine.
        if_interrupted: what has been done and what to do now, for the error message.

    Raises:
        StartupError: a signal interrupted the work.
    """

    async def run() -> _T:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise StartupError(f"interrupted; {if_interrupted}") from None


def run_on_fastest_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop if it is installed, and on asyncio's own event loop otherwise."""
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(work)
    else:
        uvloop.run(work)
