"""Data directory of the embedded database: its files, its locks, and the published URI.

`serve.lock` belongs to the service or command that runs the database; a second service is refused at once.
`database.lock` is inherited by the database process, so that after a crash the next service can wait for its end.
`database.uri` holds the URI while the database answers. Its writer keeps a lock on the file: an unlocked file was left
behind by a crash.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from contactsvc.errors import StartupError

_MAX_LOG_BYTES = 1 << 20


class DataDirectory:
    """A data directory, which need not exist yet.

    Attributes:
        path: the directory.
        database: files of the storage engine.
        log: output of the database process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "database"
        self.log = path / "database.log"
        self.database_lock = path / "database.lock"
        self._serve_lock = path / "serve.lock"
        self._uri = path / "database.uri"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def was_served(self) -> bool:
        """Whether a service has ever run here."""
        return self._serve_lock.exists()

    @contextmanager
    def serve_lock(self) -> Iterator[bool]:
        """Try to take the directory for the block, creating it if needed; yield whether it was free.

        Raises:
            StartupError: the directory cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._serve_lock.open("ab")
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            yield self.try_lock(lock)

    @contextmanager
    def open_database_lock(self) -> Iterator[IO[bytes]]:
        """Yield the file of the lock that the database process holds.

        Raises:
            StartupError: the directory cannot be used.
        """
        try:
            lock = self.database_lock.open("ab")
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            yield lock

    def open_log(self) -> IO[bytes]:
        """Open the log of the database process for appending; start a new one when it has grown too large.

        Raises:
            StartupError: it cannot be written.
        """
        try:
            if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.unlink()
            return self.log.open("ab")
        except OSError as error:
            raise StartupError(
                f"cannot write the log of the embedded database, {self.log}: {error.strerror}"
            ) from error

    @contextmanager
    def published(self, uri: str) -> Iterator[None]:
        """Publish the URI of the database for the block, readable for the owner of the directory only.

        Raises:
            StartupError: the directory cannot be used.
        """
        draft = self.path / "database.uri.new"
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(descriptor, "w") as file:
            # Written and locked before the rename: readers never see it incomplete or unlocked.
            try:
                file.write(uri)
                file.flush()
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.replace(self._uri)
            except OSError as error:
                raise self._unusable(error) from error
            try:
                yield
            finally:
                with suppress(OSError):
                    self._uri.unlink()

    def published_uri(self) -> str | None:
        """Return the URI of the running database; None when none is running.

        Raises:
            StartupError: the directory cannot be used.
        """
        try:
            file = self._uri.open()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read()
            except OSError as error:
                raise self._unusable(error) from error
            # Unlocked: left behind by a crash.
            return None

    def try_lock(self, file: IO[bytes]) -> bool:
        """Lock one of the lock files without waiting; return False when another process holds it.

        Raises:
            StartupError: the directory cannot be used, for example because its file system has no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def _unusable(self, error: OSError) -> StartupError:
        return StartupError(f"cannot use the data directory {self.path}: {error.strerror}")
