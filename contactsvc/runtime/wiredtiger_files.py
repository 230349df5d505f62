"""The files of the embedded database, opened without SecantusDB."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

LOGGED: Final = "log=(enabled=true,file_max=10MB,prealloc=false)"
"""The configuration of a connection whose changes are in the journal."""

_TABLE = "table:"
_log = logging.getLogger(__name__)


@contextmanager
def session(directory: Path, config: str) -> Iterator[Any]:
    """Open the files with a configuration of WiredTiger, and yield a session."""
    import wiredtiger

    connection = wiredtiger.wiredtiger_open(str(directory), config)
    try:
        yield connection.open_session()
    finally:
        connection.close()


def configurations(session: Any, prefix: str) -> dict[str, str]:
    """Return the complete objects whose URI has a prefix, each with the configuration that creates it."""
    return _metadata(session, "metadata:create", prefix)


def complete_tables(directory: Path) -> None:
    """Complete the tables whose creation was cut short, by a full disk for example.

    SecantusDB makes a table for the first write to a collection, and does not start beside a half-made one. Such a
    table cannot be opened, so that it has no rows.
    """
    with session(directory, LOGGED) as opened:
        columns = _metadata(opened, "metadata:", "colgroup:")
        for table, config in _metadata(opened, "metadata:", _TABLE).items():
            if f"colgroup:{table.removeprefix(_TABLE)}" not in columns:
                _log.warning("completing %s, whose creation was cut short", table)
                opened.drop(table, "force")
                opened.create(table, config)


def _metadata(session: Any, cursor: str, prefix: str) -> dict[str, str]:
    with closing(session.open_cursor(cursor, None)) as metadata:
        found = {}
        while metadata.next() == 0:
            if metadata.get_key().startswith(prefix):
                found[metadata.get_key()] = metadata.get_value()
    return found
