"""A command for the embedded database that reads a slice of an index: a limited number of its entries.

SecantusDB executes a query as a whole: it applies limits after it has read everything that matches, and nothing stops
it. This command reads no more than it is told to, so that a long read becomes many short ones, between which others are
served and after which it can end. It runs in the process of the database, and uses private names of SecantusDB.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

from contactsvc.embedded_names import READ_INDEX

_INDEX_NOT_FOUND: Final = {"ok": 0.0, "errmsg": "no index with this name and these keys", "code": 27}

# How long the database counts as serving others after one of their commands. Callers pause between their calls: judged
# by the latest slice alone, every fifth slice beside a closed loop of gets was a large one.
_BUSY_SECONDS: Final = 0.2

# The private names of SecantusDB that the command needs, by module; of classes after a dot.
_NAMES: Final = {
    "secantus.commands": ("_HANDLERS", "_COMMAND_ACTIONS", "CommandContext.metrics"),
    "secantus.metrics": ("Metrics.requests",),
    "secantus.query": ("matches",),
    "secantus.sortkey": ("COMPOUND_SEP", "encode_value"),
    "secantus.storage": (
        "_IDX_ENTRIES_TABLE",
        "_IDX_TABLE",
        "_doc_table_for",
        "_escape_kb",
        "_unframe_doc_value",
        "_unpack_entry",
        "wt",
        "Storage._cursor",
        "Storage._cursor_optional",
        "Storage._refresh_read_snapshot",
    ),
}


class _Range(NamedTuple):
    """Index entries from `begin` on and before `end`, as the packed keys of SecantusDB."""

    begin: bytes
    end: bytes


def missing_names() -> list[str]:
    """Return the private names that the installed SecantusDB lacks."""
    return [f"{module}.{name}" for module, names in _NAMES.items() for name in names if not _exists(module, name)]


def _exists(module: str, name: str) -> bool:
    owner: Any = import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    return hasattr(owner, last)


def install() -> None:
    """Add the command to SecantusDB in this process. `missing_names` must be empty.

    Its fields, beside the name of the collection:
        index, keys: name and fields of the index; error 27 if there is none.
        prefixes: values of its first fields: one range of entries each.
        at_or_after, before: bounds of the next field; absent if entries are limited by a prefix alone.
        after: values of all further fields, after which reading begins.
        reverse: whether to read backwards.
        entries: how many entries to read, of each range.
        max_bytes: the size of documents after which to stop.
        filter: further conditions of documents.
        count: whether to count the documents only.
        paced: whether it is part of a long read, see Pace.

    The answer has `documents`, one BSON document after the other; `matched`, their number; `reached`, the values of the
    last two fields of the last entry, absent when no range has more entries; and `busy`, whether the database serves
    others, see Pace.
    """
    from secantus import commands

    pace = Pace()
    received = itertools.count(1)
    # Slices of long reads so far. The others are short reads like any other command.
    paced = 0

    def handle(request: dict[str, Any], context: Any) -> dict[str, Any]:
        nonlocal paced

        def others() -> int:
            requests: int = context.metrics.requests - paced
            return requests

        if request["paced"]:
            paced = next(received)
            with pace.turn(others):
                answer = _slice(context.storage, context.db_name, request)
            return {**answer, "busy": pace.is_busy}
        # A short read is one of the others.
        return {**_slice(context.storage, context.db_name, request), "busy": True}

    commands._HANDLERS[READ_INDEX] = handle
    # The privilege that it needs of its user.
    commands._COMMAND_ACTIONS[READ_INDEX] = commands._COMMAND_ACTIONS["find"]


class Pace:
    """Lets one slice of the long reads of all clients be read at a time.

    While the database serves others, there is a pause after each slice, for as long as the slice took.

    Args:
        monotonic: a clock in seconds.
        sleep: waits for some seconds.

    Attributes:
        is_busy: whether the database serves others, as of the last slice: whether another command had come since the
            slice before, or not long before that.
    """

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._pause_until = 0.0
        self._busy_until = 0.0
        self._others = 0
        self.is_busy = True

    @contextmanager
    def turn(self, others: Callable[[], int]) -> Iterator[None]:
        """Wait for a turn, and read a slice inside the block.

        Args:
            others: returns the number of other commands that the database has ever received.
        """
        with self._lock:
            if (pause := self._pause_until - self._monotonic()) > 0:
                self._sleep(pause)
            began = self._monotonic()
            try:
                yield
            finally:
                ended, now = self._monotonic(), others()
                if now != self._others:
                    self._others, self._busy_until = now, ended + _BUSY_SECONDS
                self.is_busy = ended < self._busy_until
                self._pause_until = ended + (ended - began if self.is_busy else 0.0)


def _slice(storage: Any, database: str, request: dict[str, Any]) -> dict[str, Any]:
    import bson
    from secantus.query import matches

    collection, keys, filter_ = request[READ_INDEX], request["keys"], request["filter"]
    counts_entries = request["count"] and not filter_
    raw: list[bytes] = []
    last: int | None = None
    passed, size, more = 0, 0, False
    with storage._lock:
        storage._refresh_read_snapshot()
        if not _has_index(storage, database, collection, request["index"], keys):
            return dict(_INDEX_NOT_FOUND)
        read = _document_reader(storage, database, collection)
        index = (database, collection, request["index"])
        for prefix in request["prefixes"]:
            left = request["entries"]
            for row in _rows(storage, index, _range(request, prefix), request["reverse"]):
                if not left or size >= request["max_bytes"]:
                    more = True
                    break
                left, passed, last = left - 1, passed + 1, row
                if not counts_entries:
                    raw.append(read(row))
                    size += len(raw[-1])
        reached = bson.decode(read(last)) if more and last is not None else None
    matched = passed
    if filter_:
        raw = [document for document in raw if matches(bson.decode(document), filter_)]
        matched = len(raw)
    answer: dict[str, Any] = {
        "documents": b"" if request["count"] else b"".join(raw),
        "matched": matched,
        "ok": 1.0,
    }
    if reached is not None:
        answer["reached"] = [reached.get(key) for key in keys[-2:]]
    return answer


def _has_index(storage: Any, database: str, collection: str, name: str, keys: list[str]) -> bool:
    import bson
    from secantus import storage as module

    cursor = storage._cursor(module._IDX_TABLE)
    cursor.set_key(database, collection, name)
    return cursor.search() == 0 and list(bson.decode(bytes(cursor.get_value()))["key"]) == keys


def _document_reader(storage: Any, database: str, collection: str) -> Any:
    """Return a function that returns the BSON of a document by the number in its index entries."""
    from secantus import storage as module

    cursor = storage._cursor_optional(module._doc_table_for(database, collection))

    def read(row: int) -> bytes:
        cursor.set_key(database, collection, row)
        if cursor.search() != 0:
            raise LookupError("an index entry without its document")
        document: bytes = module._unframe_doc_value(bytes(cursor.get_value()))[1]
        return document

    return read


def _range(request: dict[str, Any], prefix: list[Any]) -> _Range:
    """Return the entries with a prefix that a request asks for."""
    from secantus.sortkey import COMPOUND_SEP, encode_value
    from secantus.storage import _escape_kb

    def packed(*values: Any, end: bytes = b"") -> bytes:
        key: bytes = _escape_kb(COMPOUND_SEP.join(encode_value(value) for value in values) + end)
        return key

    if "before" not in request:
        if len(prefix) == len(request["keys"]):
            # What follows the values of an entry is two zeros; in longer values it is something greater.
            return _Range(packed(*prefix), packed(*prefix) + b"\x00\x01")
        begin = packed(*prefix, end=COMPOUND_SEP)
        # No value begins with this byte.
        return _Range(begin, begin + b"\xff")
    begin, end = packed(*prefix, request["at_or_after"]), packed(*prefix, request["before"])
    if "after" in request:
        after = packed(*prefix, *request["after"])
        if request["reverse"]:
            end = min(end, after)
        else:
            begin = max(begin, after + b"\x00\x01")
    return _Range(begin, end)


def _rows(storage: Any, index: tuple[str, str, str], asked: _Range, reverse: bool) -> Iterator[int]:
    """Yield the numbers of the documents of index entries, in the order of the index or backwards."""
    from secantus import storage as module

    cursor = storage._cursor(module._IDX_ENTRIES_TABLE)
    cursor.set_key(*index, asked.end if reverse else asked.begin)
    step = cursor.prev if reverse else cursor.next
    found = cursor.search_near()
    if found == module.wt.WT_NOTFOUND:
        return
    # The cursor is at the key, or at one of its neighbours.
    if (found >= 0 if reverse else found < 0) and step() != 0:
        return
    while True:
        *name, entry = cursor.get_key()
        packed = bytes(entry)
        if tuple(name) != index or not asked.begin <= packed < asked.end:
            break
        row = module._unpack_entry(packed)[1]
        if row is not None:
            yield row
        if step() != 0:
            break
    cursor.reset()
