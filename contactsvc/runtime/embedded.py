"""The embedded database: SecantusDB as a child process on a free loopback port, with a password.

`running` starts it for a service. Commands use `reached`, which finds the database of a running service or starts one.
The program of the child is `embedded_child.py`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from contactsvc.errors import StartupError
from contactsvc.runtime.data_directory import DataDirectory
from contactsvc.runtime.embedded_child import DAMAGED_EXIT_CODE, DISK_FULL_EXIT_CODE, USER, ChildSettings, disk_is_full
from contactsvc.runtime.signals import describe_exit

# Between two lines of a starting process.
_START_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 20.0
# A transaction of a killed worker blocks the records that it wrote until it is aborted, and database threads retry each
# write of them, even after their callers have gone. SecantusDB's default is 60 s. Commands of a live transaction follow
# each other within milliseconds, and a transaction that was aborted by mistake is run again.
_IDLE_TRANSACTION_SECONDS = 10.0
# Erased values are gone from the change log after at most 1.5 times this: 30 s.
_ERASURE_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A running database process.

    Attributes:
        address: HOST:PORT.
        password: of its only user.
        died: resolves to a message for the operator when the process ends unexpectedly.
    """

    address: str
    password: str = field(repr=False)
    died: asyncio.Future[str]

    @property
    def uri(self) -> str:
        """The URI for drivers, with the password: not to be logged."""
        return uri_of(self.address, self.password)


def uri_of(address: str, password: str) -> str:
    """Return the URI of an embedded database at HOST:PORT.

    Turns off the driver's retries of writes: SecantusDB recognizes only some repeated writes, and none after a restart,
    so that the repetition of a successful write would look like a lost race.
    """
    return f"mongodb://{USER}:{password}@{address}/?directConnection=true&retryWrites=false&authSource=admin"


@asynccontextmanager
async def running(
    directory: Path,
    *,
    idle_transaction_seconds: float = _IDLE_TRANSACTION_SECONDS,
    erasure_grace_seconds: float = _ERASURE_GRACE_SECONDS,
) -> AsyncIterator[EmbeddedDatabase]:
    """Run the embedded database on a data directory, which is created if needed.

    Args:
        directory: the data directory.
        idle_transaction_seconds: idle time after which a transaction is aborted.
        erasure_grace_seconds: time between an erasure and the pruning of the change log.

    Raises:
        StartupError: SecantusDB is not installed or does not start, or the directory is unusable or in use.
    """
    _require_secantus()
    data = DataDirectory(directory)
    with data.serve_lock() as acquired:
        if not acquired:
            raise StartupError(
                f"the data directory {data} is in use by another contactsvc; stop it, or choose another --data-dir"
            )
        async with _child(data, idle_transaction_seconds, erasure_grace_seconds) as database:
            yield database


@asynccontextmanager
async def reached(
    directory: Path, *, create: bool = False, timeout: float = _START_TIMEOUT_SECONDS
) -> AsyncIterator[str]:
    """Yield the URI of the database of a data directory, with or without a running service.

    Without a service, the database runs until the end of the block, and a service that starts meanwhile is refused.
    With one, the database belongs to the service and ends with it.

    Args:
        directory: the data directory.
        create: create a missing directory or database. By default that is an error and leaves no trace: for commands
            that only read.
        timeout: seconds to wait for a service that is starting or stopping.

    Raises:
        StartupError: there is no database, it cannot be started, or the process that uses it publishes no URI.
    """
    data = DataDirectory(directory)
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        if not create and not data.was_served:
            raise _no_database(data)
        with data.serve_lock() as acquired:
            if acquired:
                if not create and not data.database.exists():
                    raise _no_database(data)
                _require_secantus()
                async with _child(data, _IDLE_TRANSACTION_SECONDS, _ERASURE_GRACE_SECONDS) as database:
                    yield database.uri
                return
        if (uri := data.published_uri()) is not None:
            yield uri
            return
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(
                f"the data directory {data} is in use by another contactsvc that has not published the address of its "
                f"database; try again, or stop that process if it hangs or is an earlier version"
            )
        # The service is starting or stopping.
        await asyncio.sleep(_POLL_SECONDS)


def _no_database(data: DataDirectory) -> StartupError:
    return StartupError(
        f"there is no embedded database in {data}; pass the --data-dir of the service, or its --mongodb-uri"
    )


def _require_secantus() -> None:
    if importlib.util.find_spec("secantus") is None:
        raise StartupError(
            "the embedded database is not installed: pip install 'contactsvc[embedded]' (SecantusDB has wheels for "
            "CPython 3.10 to 3.13), or pass the URI of a MongoDB with --mongodb-uri"
        )


@asynccontextmanager
async def _child(
    data: DataDirectory, idle_transaction_seconds: float, erasure_grace_seconds: float
) -> AsyncIterator[EmbeddedDatabase]:
    """Run the database process and publish its URI."""
    with data.open_database_lock() as lock:
        process, port = await _start(data, lock, idle_transaction_seconds, erasure_grace_seconds)
        _log.info("embedded database in %s (for trials; use MongoDB in production)", data)
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(_watch(process, data, died))
        database = EmbeddedDatabase(f"127.0.0.1:{port}", data.password(), died)
        try:
            with data.published(database.uri):
                yield database
        finally:
            watch.cancel()
            await _stop(process)


async def _start(
    data: DataDirectory, lock: IO[bytes], idle_transaction_seconds: float, erasure_grace_seconds: float
) -> tuple[asyncio.subprocess.Process, int]:
    await _wait_for_previous_child(data, lock)
    data.password()
    settings = ChildSettings(
        password_file=str(data.password_file),
        note=str(data.erasure_note),
        idle_transaction_seconds=idle_transaction_seconds,
        erasure_grace_seconds=erasure_grace_seconds,
    )
    process, port = await _launch(data, lock, settings)
    if port is None and process.returncode == DAMAGED_EXIT_CODE:
        process, port = await _launch(data, lock, replace(settings, repair=True))
    if port is None:
        raise StartupError(_why_not_started(data, await process.wait()))
    return process, port


async def _launch(
    data: DataDirectory, lock: IO[bytes], settings: ChildSettings
) -> tuple[asyncio.subprocess.Process, int | None]:
    """Start a process, and return it with its port; with None once it has ended before it was ready."""
    with data.open_log() as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "contactsvc.runtime.embedded_child"),
            *(str(data.database), settings.to_json()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            # Outside the terminal's process group: Ctrl-C goes to the service, which stops its database last.
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    try:
        port = await _port_of(process, data)
        if port is None:
            await process.wait()
    except BaseException:
        await _stop(process)
        raise
    return process, port


async def _port_of(process: asyncio.subprocess.Process, data: DataDirectory) -> int | None:
    """Wait until the process accepts connections, and return its port; None when it ends first.

    Raises:
        StartupError: it hangs.
    """
    if process.stdout is None:
        raise TypeError("standard output is not a pipe")
    rewriting = False
    while True:
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                line = (await process.stdout.readline()).decode().split()
        except TimeoutError:
            raise StartupError(f"the embedded database hangs at its start; see {data.log}") from None
        match line:
            case ["ready", port]:
                return int(port)
            case ["rewriting"]:
                if not rewriting:
                    _log.info("removing erased values from the files of the embedded database in %s", data)
                rewriting = True
            case ["no-room"]:
                _log.warning(
                    "no room to rewrite the embedded database: its files in %s keep erased values until a start with "
                    "as much free space as they take",
                    data,
                )
            case _:
                return None


def _why_not_started(data: DataDirectory, code: int) -> str:
    """Return the message about a process that ended before it was ready."""
    if code == DISK_FULL_EXIT_CODE or disk_is_full(data.path):
        return f"the embedded database does not start: the disk of {data} is full; free at least 100 MB"
    restore = (
        f"move {data.database} to another place, and keep it; then restore the last export with `contactsvc import`"
    )
    if code == DAMAGED_EXIT_CODE:
        return f"the embedded database does not start: its files are damaged (see {data.log}); {restore}"
    ended = f"the embedded database does not start: it ended {describe_exit(code)}; see {data.log}"
    return f"{ended}. If its files are damaged: {restore}"


async def _wait_for_previous_child(data: DataDirectory, lock: IO[bytes]) -> None:
    """Wait until the database process of a crashed service has ended by itself."""
    deadline = asyncio.get_running_loop().time() + _STOP_TIMEOUT_SECONDS
    logged = False
    while not data.try_lock(lock):
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(
                f"the database of an earlier contactsvc still uses {data}; end the process that holds "
                f"{data.database_lock}"
            )
        if not logged:
            _log.info("waiting for the database of an earlier contactsvc in %s to stop", data)
            logged = True
        await asyncio.sleep(_POLL_SECONDS)


async def _watch(process: asyncio.subprocess.Process, data: DataDirectory, died: asyncio.Future[str]) -> None:
    code = await process.wait()
    if code == DISK_FULL_EXIT_CODE or disk_is_full(data.path):
        why = f"the embedded database ended, because the disk of {data} is full. Its data is kept: free some space"
        died.set_result(f"{why}, and start the service again")
        return
    died.set_result(
        f"the embedded database ended {describe_exit(code)}; see {data.log}. Its data is kept: start the service again"
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Stop the process by closing its input; kill it when it hangs."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
            await process.wait()
    except TimeoutError:
        _log.warning("the embedded database does not stop: killing it (the next start replays its journal)")
        process.kill()
        await process.wait()
