"""Workarounds for SecantusDB 0.7.0b3, the embedded database, by its private names. Other releases are left alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, Final

_RELEASE: Final = "0.7.0b3"


def decode_indexes_once_per_statement() -> None:
    """Change how SecantusDB writes in this process: it decodes all index definitions three times per document.

    That is half of the time of an insert into a collection with our indexes. The definitions cannot change within a
    statement, which holds the lock of its collection; so each statement decodes them once.
    """
    if version("SecantusDB") != _RELEASE:
        return
    from secantus.storage import Storage

    # The definitions decoded by the statement that this thread executes, by database and collection.
    statement = threading.local()
    begin: Any = Storage._batch_transaction
    decode: Any = Storage._index_options_map

    @contextmanager
    def batch_transaction(self: Any, *, sync: bool = False) -> Iterator[Any]:
        before = getattr(statement, "decoded", None)
        statement.decoded = {}
        try:
            with begin(self, sync=sync) as session:
                yield session
        finally:
            statement.decoded = before

    def index_options_map(self: Any, db: str, coll: str) -> Any:
        decoded = getattr(statement, "decoded", None)
        if decoded is None:
            return decode(self, db, coll)
        if (db, coll) not in decoded:
            decoded[db, coll] = decode(self, db, coll)
        return decoded[db, coll]

    Storage._batch_transaction = batch_transaction
    Storage._index_options_map = index_options_map


def find_candidates_by_id() -> None:
    """Change how SecantusDB finds the document of a write in this process: by `_id`, if the filter names one.

    A filter that has more than the `_id`, as our guarded writes have, decodes all index definitions several times, and
    may walk another index. The write checks the whole filter against the document in any case.
    """
    if version("SecantusDB") != _RELEASE:
        return
    from secantus.storage import Storage

    find: Any = Storage._candidates_iter

    def candidates_iter(self: Any, db: str, coll: str, query: Any) -> Any:
        id_ = query.get("_id") if query else None
        return find(self, db, coll, {"_id": id_} if isinstance(id_, str) else query)

    Storage._candidates_iter = candidates_iter


def stop_accepting(server: Any) -> None:
    """End the thread of a server that accepts connections.

    `server.stop()` closes the socket under it, which does not wake it on Linux, and waits 2 s in vain.
    """
    if version("SecantusDB") == _RELEASE:
        # Other systems refuse this, and wake the thread by the close.
        with suppress(OSError):
            server._socket.shutdown(socket.SHUT_RDWR)
