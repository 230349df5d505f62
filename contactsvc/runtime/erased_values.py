"""Removal of erased values from the embedded database: from its change log, and from its files.

The transaction of an erasure inserts a document, its mark. `ChangeLogPruner` looks for marks, removes the change log up
to them, and leaves a note that the files hold erased values. At the next start `rewrite` copies the database into fresh
files, because WiredTiger overwrites neither its journal nor freed blocks. Runs in the process of the database.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contactsvc.embedded_names import ERASURES
from contactsvc.runtime.wiredtiger_files import LOGGED, configurations, session

# SecantusDB itself drops what exceeds the retention only at every 1,000th write.
_RETENTION_POLL_SECONDS = 600.0
# Pruning holds the lock of the storage: for 35 µs per entry.
_MAX_ENTRIES_PER_STEP = 1_000

_ROWS_PER_PROGRESS = 10_000
# For the journal and metadata of the copy, beside its tables.
_MIN_FREE_BYTES = 32 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Erasures:
    """Marks that were found together.

    Attributes:
        marks: databases and ids.
        found_at: monotonic time.
        second: of the cluster time; the change log up to its end may hold erased values.
    """

    marks: frozenset[tuple[str, Any]]
    found_at: float
    second: int


class ChangeLogPruner:
    """Removes the change log up to each erasure, and what exceeds the retention.

    Args:
        storage: of SecantusDB.
        note: the path of the note.
        retention_poll_seconds: how often to look for what exceeds the retention.
    """

    def __init__(self, storage: Any, note: Path, *, retention_poll_seconds: float = _RETENTION_POLL_SECONDS) -> None:
        self._storage = storage
        self._note = note
        self._pending: list[_Erasures] = []
        self._retention_poll_seconds = retention_poll_seconds
        self._retention_pruned_at = time.monotonic()

    def run(self, stop: threading.Event, grace_seconds: float) -> None:
        """Poll until stopped, so that erased values are gone after at most 1.5 times the grace period."""
        while not stop.wait(grace_seconds / 4):
            try:
                self.poll(grace_seconds=grace_seconds)
            except Exception:
                # The marks are still there for the next poll.
                _log.exception("cannot prune the change log")

    def poll(self, *, grace_seconds: float) -> None:
        """Look for marks, and prune the change log up to those that were found before the grace period."""
        now = time.monotonic()
        new = frozenset(self._marks()).difference(*(erasures.marks for erasures in self._pending))
        if new:
            # Read after the marks: nothing older comes after it.
            self._pending.append(_Erasures(new, now, self._storage.current_cluster_time().time))
        while self._pending and now - self._pending[0].found_at >= grace_seconds:
            erasures = self._pending[0]
            self._prune(erasures.second + 1)
            # First the note: after a crash in between, the files are rewritten all the same.
            write_durably(self._note)
            for database, mark in erasures.marks:
                self._storage.delete_matching(database, ERASURES, {"_id": mark})
            del self._pending[0]
        if now - self._retention_pruned_at >= self._retention_poll_seconds:
            self._prune(int(time.time() - self._storage.oplog_retention_seconds))
            self._retention_pruned_at = now

    def _marks(self) -> Iterator[tuple[str, Any]]:
        for database in self._storage.list_databases():
            if self._storage.collection_exists(database, ERASURES):
                for mark in self._storage.find_matching(database, ERASURES):
                    yield database, mark["_id"]

    def _prune(self, end: int) -> None:
        """Remove the entries that are older than a second of the cluster time, in steps of limited size."""
        storage = self._storage
        floor = -1
        until = 0
        while until < end:
            entries = storage.read_oplog(start_seq=storage.oplog_floor_seq(), limit=_MAX_ENTRIES_PER_STEP)
            if entries and entries[0][0] <= floor:
                raise RuntimeError(f"entry {floor} of the change log cannot be removed")
            floor = entries[0][0] if entries else floor
            until = min(entries[-1][1]["ts"].time + 1, end) if entries else end
            # In one transaction: outside, each removal would be synced to the disk by itself.
            transaction = storage.begin_user_transaction()
            try:
                with storage.use_user_transaction(transaction):
                    # It removes what is older than `now` minus the retention, in whole seconds.
                    storage.prune_oplog(now=until + storage.oplog_retention_seconds)
            except BaseException:
                storage.abort_user_transaction(transaction)
                raise
            storage.commit_user_transaction(transaction)


def rewrite(database: Path, note: Path, on_progress: Callable[[], None]) -> bool:
    """Copy a closed database into fresh files, and put them in its place; return False when the disk has no room.

    A crash leaves the old or the new database, once `recover` has run, and the note unless all was done.

    Args:
        database: directory of the database.
        note: removed at the end.
        on_progress: called several times a second.
    """
    fresh, old = _fresh(database), _old(database)
    size = sum(file.stat().st_size for file in database.iterdir())
    if shutil.disk_usage(database).free < size + _MIN_FREE_BYTES:
        return False
    fresh.mkdir(mode=0o700)
    _copy(database, fresh, on_progress)
    sync_directory(fresh)
    database.rename(old)
    fresh.rename(database)
    sync_directory(database.parent)
    shutil.rmtree(old)
    note.unlink(missing_ok=True)
    sync_directory(database.parent)
    return True


def recover(database: Path) -> None:
    """Finish or undo a rewrite that was interrupted."""
    fresh, old = _fresh(database), _old(database)
    if old.exists():
        if not database.exists():
            # Between the two renames the copy is complete.
            fresh.rename(database)
            sync_directory(database.parent)
        shutil.rmtree(old)
    if fresh.exists():
        shutil.rmtree(fresh)


def write_durably(path: Path) -> None:
    """Create an empty file that outlasts a power failure."""
    with path.open("ab") as file:
        os.fsync(file.fileno())
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory outlast a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fresh(database: Path) -> Path:
    return database.with_name(database.name + ".new")


def _old(database: Path) -> Path:
    return database.with_name(database.name + ".old")


def _copy(source: Path, target: Path, on_progress: Callable[[], None]) -> None:
    """Copy all tables with their indexes, which are tables as well."""
    rows = 0
    with (
        session(source, LOGGED) as reader,
        session(target, f"create,{LOGGED}") as writer,
    ):
        for table, config in configurations(reader, "table:").items():
            writer.create(table, config)
            with (
                closing(reader.open_cursor(table, None)) as read,
                closing(writer.open_cursor(table, None, "bulk")) as write,
            ):
                while read.next() == 0:
                    write.set_key(*read.get_keys())
                    write.set_value(*read.get_values())
                    write.insert()
                    rows += 1
                    if rows % _ROWS_PER_PROGRESS == 0:
                        on_progress()
        writer.checkpoint()
