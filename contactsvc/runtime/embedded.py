"""The embedded database of a first try: SecantusDB as a child process on a free loopback port.

This module has both ends: `running` starts, watches and stops the child, and `python -m contactsvc.runtime.embedded` is
the child. Whatever ends the service, the child notices by the end of its standard input and stops as well, cleanly.

Two locks in the data directory keep it to one user. The service holds `serve.lock`, so that a second service is
refused at once. The child inherits `database.lock`, so that after a crash the next service can wait until the old child
is gone.

Commands that work beside a service use `reached`: while the database answers, `database.uri` says where. Whoever wrote
that file holds a lock on it, so that one left behind by a crash is told from a true one without any race.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from contactsvc.errors import StartupError

_START_ATTEMPTS = 3
_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 20.0
# Less, so that the next service need not give up waiting for a child that hangs.
_CHILD_STOP_TIMEOUT = 15.0
# Seconds after which a transaction whose service says nothing more is given up. Until then the records that a killed
# worker was writing are nobody's, and each write of them is tried again and again by a thread of the database, whether
# its caller still waits or not; SecantusDB's default is 60. Between two commands of a transaction of ours there are
# milliseconds, and one that was given up by mistake is run again.
_LONGEST_IDLE_TRANSACTION = 10.0
_POLL = 0.02
_LARGEST_LOG = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A running child.

    Attributes:
        uri: how drivers reach it.
        died: done, with a message for people, when the child ends by itself.
    """

    uri: str
    died: asyncio.Future[str]


def uri_of(address: str) -> str:
    """Return how drivers reach an embedded database at HOST:PORT.

    They are not to repeat writes: SecantusDB does not know every write again, and none after a restart, so that one
    which has been made would be answered as if another had been faster.
    """
    return f"mongodb://{address}/?directConnection=true&retryWrites=false"


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[EmbeddedDatabase]:
    """Run the embedded database on a data directory, which is made if need be.

    Raises:
        StartupError: it is not installed, the directory cannot be used or is in use, or the child does not start.
    """
    _check_that_it_is_installed()
    with _serve_lock(directory) as is_ours:
        if not is_ours:
            raise StartupError(
                f"the data directory {directory} is in use by another contactsvc; stop it, or name another --data-dir"
            )
        async with _child(directory) as database:
            yield database


@asynccontextmanager
async def reached(directory: Path, *, create: bool = False, patience: float = _START_TIMEOUT) -> AsyncIterator[str]:
    """Yield the URI of the database of a data directory, whether or not a service runs on it.

    Without a service the database runs until the end of the block, and a service that starts meanwhile is refused. With
    one the database is the service's, and ends with it.

    Args:
        directory: the data directory.
        create: start a new database when the directory, or a database in it, is not there. Otherwise that is an error,
            and nothing is made: for commands that only look.
        patience: how many seconds to wait for a service that is starting or stopping.

    Raises:
        StartupError: there is no database to reach, or it cannot be started or is in use by something that does not
            say where it is; the message says what to do.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        # Without serve.lock no service has ever run here.
        if not create and not (directory / "serve.lock").exists():
            raise _nothing_there(directory)
        with _serve_lock(directory) as is_ours:
            if is_ours:
                if not create and not (directory / "database").exists():
                    raise _nothing_there(directory)
                _check_that_it_is_installed()
                async with _child(directory) as database:
                    yield database.uri
                return
        if (uri := _published_uri(directory)) is not None:
            yield uri
            return
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(
                f"the data directory {directory} is in use by another contactsvc, which does not say where its "
                f"database is; try again, or stop it if it hangs or is of an earlier version"
            )
        # It is starting or stopping.
        await asyncio.sleep(_POLL)


def _nothing_there(directory: Path) -> StartupError:
    return StartupError(
        f"there is no embedded database in {directory}; name the --data-dir of the service, or its --mongodb-uri"
    )


def _check_that_it_is_installed() -> None:
    if importlib.util.find_spec("secantus") is None:
        raise StartupError(
            "the embedded database is not installed: pip install 'contactsvc[embedded]' (SecantusDB has wheels for "
            "CPython 3.10 to 3.13), or name a MongoDB with --mongodb-uri"
        )


@contextmanager
def _serve_lock(directory: Path) -> Iterator[bool]:
    """Try to hold the directory; yield whether it is ours."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / "serve.lock").open("ab")
    except OSError as error:
        raise _unusable(directory, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_ours = False
        else:
            is_ours = True
        yield is_ours


def _unusable(directory: Path, error: OSError) -> StartupError:
    return StartupError(f"cannot use the data directory {directory}: {error.strerror}")


@asynccontextmanager
async def _child(directory: Path) -> AsyncIterator[EmbeddedDatabase]:
    """Run the child, and say in the directory where it answers."""
    try:
        database_lock = (directory / "database.lock").open("ab")
    except OSError as error:
        raise _unusable(directory, error) from error
    with database_lock:
        process, port = await _start(directory, database_lock)
        _log.info("embedded database in %s (a first try; production means MongoDB)", directory)
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(_watch(process, directory, died))
        uri = uri_of(f"127.0.0.1:{port}")
        try:
            with _published(directory, uri):
                yield EmbeddedDatabase(uri, died)
        finally:
            watch.cancel()
            await _stop(process)


@contextmanager
def _published(directory: Path, uri: str) -> Iterator[None]:
    """Say where the database is, to whoever may read our files, until the end of the block."""
    path, draft = directory / "database.uri", directory / "database.uri.new"
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _unusable(directory, error) from error
    with os.fdopen(descriptor, "w") as file:
        # Written and locked before it gets its name: under that name nobody ever sees it otherwise.
        file.write(uri)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.replace(path)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _published_uri(directory: Path) -> str | None:
    """Return where the database is, if its owner has said so and still lives."""
    try:
        file = (directory / "database.uri").open()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(directory, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return file.read()
        # Nobody holds it: a crash has left it behind.
        return None


async def _start(directory: Path, database_lock: IO[bytes]) -> tuple[asyncio.subprocess.Process, int]:
    await _wait_for_previous_child(directory, database_lock)
    log_path = directory / "database.log"
    for _ in range(_START_ATTEMPTS):
        port = _free_port()
        with _opened_log(log_path) as log_file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "contactsvc.runtime.embedded",
                str(port),
                str(directory / "database"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                # Out of the terminal's process group: Ctrl-C is for the service, which stops its database last.
                start_new_session=True,
                pass_fds=[database_lock.fileno()],
            )
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                if await _answers(process, port):
                    return process, port
        except BaseException as error:
            await _stop(process)
            if isinstance(error, TimeoutError):
                break
            raise
        # It ended: perhaps somebody took the port between our look and its bind. Try another one.
    raise StartupError(
        f"the embedded database does not start; {log_path} says why, unless the disk "
        f"is full, which keeps that file from saying so"
    )


def _opened_log(path: Path) -> IO[bytes]:
    """Open what the child says, begun anew when it has become long."""
    try:
        if path.exists() and path.stat().st_size > _LARGEST_LOG:
            path.unlink()
        return path.open("ab")
    except OSError as error:
        raise StartupError(f"cannot write the log of the embedded database, {path}: {error.strerror}") from error


async def _wait_for_previous_child(directory: Path, database_lock: IO[bytes]) -> None:
    """Wait until the child of a service that crashed has stopped; it does so by itself."""
    deadline = asyncio.get_running_loop().time() + _STOP_TIMEOUT
    told = False
    while True:
        try:
            fcntl.flock(database_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StartupError(
                    f"the database of an earlier contactsvc still uses {directory}; end the process that holds "
                    f"{directory / 'database.lock'}"
                ) from error
            if not told:
                _log.info("waiting for the database of an earlier contactsvc in %s to stop", directory)
                told = True
            await asyncio.sleep(_POLL)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until the port takes connections; tell whether it does before the child ends."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_POLL)
        else:
            writer.close()
            # A stranger may have taken the port, and then the child ends at its bind.
            await asyncio.sleep(_POLL)
            return process.returncode is None
    return False


async def _watch(process: asyncio.subprocess.Process, directory: Path, died: asyncio.Future[str]) -> None:
    code = await process.wait()
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    died.set_result(
        f"the embedded database ended {how}; {directory / 'database.log'} may say why. Its data is kept: start again"
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the child: by the end of its input, and by force if it does not listen."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        _log.warning("the embedded database does not stop; killing it (its journal is replayed at the next start)")
        process.kill()
        await process.wait()


def _be_the_child(port: str, storage_path: str) -> int:
    """Run SecantusDB until standard input ends."""
    from secantus.server import SecantusDBServer

    def stop_with_the_service() -> None:
        # Not sys.stdin.read(): its lock, held by this thread, would break the interpreter's own exit.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        # Seen: when its service had left amid writes, it waited for them for ever. The next start replays the journal.
        time.sleep(_CHILD_STOP_TIMEOUT)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=stop_with_the_service, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("secantus").addHandler(_EndAtPanic())
    server = SecantusDBServer(
        "127.0.0.1",
        int(port),
        storage_path,
        enable_test_commands=False,
        # An acknowledged write has reached the disk, as on MongoDB. It costs a sixth of a write's time.
        sync_on_commit=True,
        transaction_lifetime_seconds=_LONGEST_IDLE_TRANSACTION,
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.start()
    server.wait()
    return 0


class _EndAtPanic(logging.Handler):
    """Ends the child once its storage engine has given up, such as on a full disk.

    SecantusDB itself goes on, and answers every command with an internal error until it is started again. Nothing is
    lost by ending at once: the engine writes nothing any more, and the journal has all that was acknowledged.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and "WT_PANIC" in str(record.exc_info[1]):
            try:
                # No other handler will get it.
                sys.stderr.write(f"{self.format(record)}\nthe storage engine has given up: the database ends\n")
                sys.stderr.flush()
            finally:
                # The log may be on the same full disk.
                os._exit(1)


if __name__ == "__main__":
    sys.exit(_be_the_child(*sys.argv[1:]))
