"""The embedded database: SecantusDB as a child process on a free loopback port.

`running` starts it for a service. Commands use `reached`, which finds the database of a running service or starts one.
The program of the child is `embedded_child.py`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from contactsvc.errors import StartupError
from contactsvc.runtime.data_directory import DataDirectory
from contactsvc.runtime.signals import describe_exit

_MAX_START_ATTEMPTS = 3
_START_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 20.0
# A transaction of a killed worker blocks the records that it wrote until it is aborted, and database threads retry each
# write of them, even after their callers have gone. SecantusDB's default is 60 s. Commands of a live transaction follow
# each other within milliseconds, and a transaction that was aborted by mistake is run again.
_IDLE_TRANSACTION_SECONDS = 10.0
_POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A running database process.

    Attributes:
        uri: for drivers.
        died: resolves to a message for the operator when the process ends unexpectedly.
    """

    uri: str
    died: asyncio.Future[str]


def uri_of(address: str) -> str:
    """Return the URI of an embedded database at HOST:PORT.

    Turns off the driver's retries of writes: SecantusDB recognizes only some repeated writes, and none after a restart,
    so that the repetition of a successful write would look like a lost race.
    """
    return f"mongodb://{address}/?directConnection=true&retryWrites=false"


@asynccontextmanager
async def running(
    directory: Path, *, idle_transaction_seconds: float = _IDLE_TRANSACTION_SECONDS
) -> AsyncIterator[EmbeddedDatabase]:
    """Run the embedded database on a data directory, which is created if needed.

    Args:
        directory: the data directory.
        idle_transaction_seconds: idle time after which a transaction is aborted.

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
        async with _child(data, idle_transaction_seconds) as database:
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
                async with _child(data, _IDLE_TRANSACTION_SECONDS) as database:
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
async def _child(data: DataDirectory, idle_transaction_seconds: float) -> AsyncIterator[EmbeddedDatabase]:
    """Run the database process and publish its URI."""
    with data.open_database_lock() as lock:
        process, port = await _start(data, lock, idle_transaction_seconds)
        _log.info("embedded database in %s (for trials; use MongoDB in production)", data)
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(_watch(process, data, died))
        uri = uri_of(f"127.0.0.1:{port}")
        try:
            with data.published(uri):
                yield EmbeddedDatabase(uri, died)
        finally:
            watch.cancel()
            await _stop(process)


async def _start(
    data: DataDirectory, lock: IO[bytes], idle_transaction_seconds: float
) -> tuple[asyncio.subprocess.Process, int]:
    await _wait_for_previous_child(data, lock)
    for _ in range(_MAX_START_ATTEMPTS):
        port = _free_port()
        with data.open_log() as log_file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "contactsvc.runtime.embedded_child"),
                *(str(port), str(data.database), str(idle_transaction_seconds)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                # Outside the terminal's process group: Ctrl-C goes to the service, which stops its database last.
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                if await _accepts_connections(process, port):
                    return process, port
        except BaseException as error:
            await _stop(process)
            if isinstance(error, TimeoutError):
                break
            raise
        # It exited: another process may have taken the port before it was bound. Try another one.
    raise StartupError(
        f"the embedded database does not start; see {data.log}. An empty log can mean that the disk is full"
    )


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _accepts_connections(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until the port accepts connections; return False when the process ends first."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_POLL_SECONDS)
        else:
            writer.close()
            # Another process may have taken the port; ours then exits when it binds.
            await asyncio.sleep(_POLL_SECONDS)
            return process.returncode is None
    return False


async def _watch(process: asyncio.subprocess.Process, data: DataDirectory, died: asyncio.Future[str]) -> None:
    how = describe_exit(await process.wait())
    died.set_result(f"the embedded database ended {how}; see {data.log}. Its data is kept: start the service again")


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
