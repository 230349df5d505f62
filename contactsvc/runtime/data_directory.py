"""Data directory of the embedded database: its files, its locks, its password, and the published URI.

`serve.lock` belongs to the service or command that runs the database; a second service is refused at once.
`database.lock` is inherited by the database process, so that after a crash the next service can wait for its end.
`database.uri` holds the URI while the database answers. Its writer keeps a lock on the file: an unlocked file was left
behind by a crash.
`database.password` holds the password of the database, made at the first start.
`database.erased` says that the files of the database hold erased values; the next start rewrites them.

Only the owner may use the directory and its files: whoever can read them can read all contact methods.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from contactsvc.errors import StartupError

_MAX_LOG_BYTES = 1 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# Of names in the directory that a service may have made.
_OWN_PREFIXES = ("database", "serve.lock")


_log = logging.getLogger(__name__)


class DataDirectory:
    """A data directory, which need not exist yet.

    Attributes:
        path: the directory.
        database: files of the storage engine.
        log: output of the database process.
        erasure_note: exists while the files of the storage engine hold erased values.
        password_file: holds the password of the database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "database"
        self.log = path / "database.log"
        self.database_lock = path / "database.lock"
        self.erasure_note = path / "database.erased"
        self.password_file = path / "database.password"
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
            StartupError: the directory cannot be used, or others may use it and that cannot be changed.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private()
            lock = _open_private(self._serve_lock)
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
            lock = _open_private(self.database_lock)
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
            return _open_private(self.log)
        except OSError as error:
            raise StartupError(
                f"cannot write the log of the embedded database, {self.log}: {error.strerror}"
            ) from error

    def password(self) -> str:
        """Return the password of the database; make one at the first start.

        Raises:
            StartupError: the directory cannot be used.
        """
        try:
            # Empty after a crash while it was made, when no database had it yet.
            if not self.password_file.exists() or not self.password_file.stat().st_size:
                with _open_private(self.password_file) as file:
                    file.write(secrets.token_urlsafe(32).encode())
            return self.password_file.read_text()
        except OSError as error:
            raise self._unusable(error) from error

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

    def _make_private(self) -> None:
        """Take the permissions of group and others from the directory and its files.

        Raises:
            StartupError: the directory is not ours, or holds other things as well.
        """
        if not self.path.stat().st_mode & _OTHERS:
            return
        shared = f"other users may use the data directory {self.path}, which holds contact data in plain text"
        foreign = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(_OWN_PREFIXES)]
        if foreign:
            raise StartupError(f"{shared}, and it holds other files too: choose another --data-dir, or chmod 700 it")
        try:
            for file in [self.path, *self.path.rglob("*")]:
                if not file.is_symlink():
                    file.chmod(stat.S_IMODE(file.stat().st_mode) & ~_OTHERS)
        except PermissionError as error:
            raise StartupError(f"{shared}: have its owner chmod 700 it, or choose another --data-dir") from error
        _log.warning("other users could use the data directory %s; they no longer can", self.path)

    def _unusable(self, error: OSError) -> StartupError:
        return StartupError(f"cannot use the data directory {self.path}: {error.strerror}")


def _open_private(path: Path) -> IO[bytes]:
    """Open a file for appending, and create it if needed, for its owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
