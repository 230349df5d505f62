"""Process of the embedded database: `python -m contactsvc.runtime.embedded_child DIRECTORY JSON`.

Serves SecantusDB on a free loopback port until standard input ends, which happens however the parent process ends.
Reports its start on standard output, a line each: `rewriting`, while it removes erased values from the files;
`no-room`, when the disk is too full for that; `ready PORT`, when it accepts connections.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from contactsvc.embedded_names import EMBEDDED_SET_NAME
from contactsvc.runtime import index_reader
from contactsvc.runtime.embedded_workaround import (
    decode_indexes_once_per_statement,
    find_candidates_by_id,
    stop_accepting,
)
from contactsvc.runtime.erased_values import ChangeLogPruner, recover, rewrite
from contactsvc.runtime.wiredtiger_files import complete_tables

USER: Final = "contactsvc"
"""The only user of the database."""

DISK_FULL_EXIT_CODE: Final = 70
"""The exit code when the disk of the data directory is full."""

DAMAGED_EXIT_CODE: Final = 71
"""The exit code when the storage engine refuses the files at the start."""

# Less than what the parent (`embedded._STOP_TIMEOUT_SECONDS`) and the next service wait for a hanging process.
_STOP_TIMEOUT_SECONDS = 15.0
# A journal file has 10 MB.
_FULL_BELOW_BYTES = 12 << 20
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")

# What resume tokens of change streams can rely on.
_CHANGE_LOG_SECONDS = 24 * 3600.0
_CHANGE_LOG_ENTRIES = 250_000

# The fewest that drivers accept; more protect only passwords that can be guessed.
_SCRAM_ITERATIONS = 4_096


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """Settings of the process, passed as JSON.

    Attributes:
        password_file: holds the password of the only user.
        note: path of the note about erased values.
        idle_transaction_seconds: idle time after which a transaction is aborted.
        erasure_grace_seconds: time between an erasure and the pruning of the change log; readers of the change log that
            are less than this behind miss no entries.
        repair: whether to complete half-made tables first, because a start failed.
    """

    password_file: str
    note: str
    idle_transaction_seconds: float
    erasure_grace_seconds: float
    repair: bool = False

    def to_json(self) -> str:
        """Return the settings as an argument of the process."""
        return json.dumps(asdict(self))


def disk_is_full(path: Path) -> bool:
    """Return whether the file system has no room for another file of the journal."""
    return shutil.disk_usage(path).free < _FULL_BELOW_BYTES


def main(directory: Path, settings: ChildSettings) -> int:
    """Run SecantusDB until standard input ends or SIGTERM arrives.

    Args:
        directory: files of the storage engine.
        settings: all else.
    """
    os.umask(0o077)
    # Prints of libraries go to the log.
    status = os.dup(1)
    os.dup2(2, 1)

    def report(line: str) -> None:
        os.write(status, f"{line}\n".encode())

    decode_indexes_once_per_statement()
    find_candidates_by_id()
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("secantus").addHandler(_ExitOnPanic(directory))
    if missing := index_reader.missing_names():
        # The service finds out that the command is missing, and warns.
        logging.getLogger(__name__).error("this release of SecantusDB lacks %s", ", ".join(missing))
    else:
        index_reader.install()
    try:
        server, pruner = _opened(directory, settings, report)
    except Exception as error:
        logging.getLogger(__name__).exception("cannot open the database")
        if disk_is_full(directory.parent) or _is_no_space(error):
            return DISK_FULL_EXIT_CODE
        return DAMAGED_EXIT_CODE if type(error).__name__ == "WiredTigerError" else 1
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        stop_accepting(server)
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.start()
    threading.Thread(target=pruner.run, args=(stopped, settings.erasure_grace_seconds), daemon=True).start()
    report(f"ready {server.port}")
    os.close(status)
    server.wait()
    return 0


def _opened(directory: Path, settings: ChildSettings, report: Any) -> tuple[Any, ChangeLogPruner]:
    """Open the database, and remove what erasures left in its change log and its files."""
    note = Path(settings.note)
    recover(directory)
    if settings.repair:
        complete_tables(directory)
    server = _server(directory, settings)
    pruner = ChangeLogPruner(server.storage, note)
    pruner.poll(grace_seconds=0)
    if note.exists():
        report("rewriting")
        server.storage.close()
        if not rewrite(directory, note, lambda: report("rewriting")):
            report("no-room")
        server = _server(directory, settings)
        pruner = ChangeLogPruner(server.storage, note)
    return server, pruner


def _server(directory: Path, settings: ChildSettings) -> Any:
    from secantus.auth import SCRAM_SHA_256, derive_credentials
    from secantus.server import SecantusDBServer

    server = SecantusDBServer(
        "127.0.0.1",
        0,
        str(directory),
        replica_set_name=EMBEDDED_SET_NAME,
        require_auth=True,
        enable_test_commands=False,
        oplog_retention_seconds=_CHANGE_LOG_SECONDS,
        oplog_max_entries=_CHANGE_LOG_ENTRIES,
        # An acknowledged write has reached the disk, as on MongoDB. This adds a sixth to the time of a write.
        sync_on_commit=True,
        transaction_lifetime_seconds=settings.idle_transaction_seconds,
    )
    password = Path(settings.password_file).read_text()
    credentials = derive_credentials(
        password, iterations=_SCRAM_ITERATIONS, mechanism=SCRAM_SHA_256, username=USER
    ).to_doc()
    user = {
        "_id": f"admin.{USER}",
        "user": USER,
        "db": "admin",
        "credentials": credentials,
        "roles": [{"role": "root", "db": "admin"}],
        "mechanisms": [SCRAM_SHA_256],
    }
    server.storage.add_user("admin", USER, user, replace=True)
    return server


def _stop_with_the_parent() -> None:
    # Not sys.stdin.read(): this thread would hold its lock, which the exit of the interpreter needs.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # SecantusDB was seen to wait forever for the writes of a killed service. The next start replays the journal.
    time.sleep(_STOP_TIMEOUT_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_no_space(error: BaseException | None) -> bool:
    return any(text in str(error) for text in _NO_SPACE)


class _ExitOnPanic(logging.Handler):
    """Ends the process when its storage engine has failed, for example on a full disk.

    SecantusDB itself keeps running and answers every command with an internal error. Exiting at once loses nothing:
    the engine no longer writes, and the journal holds every acknowledged write.

    Args:
        directory: files of the storage engine.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def emit(self, record: logging.LogRecord) -> None:
        """Exit when the record reports a panic of the engine."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and "WT_PANIC" in str(error):
            full = False
            try:
                full = disk_is_full(self._directory) or _is_no_space(error)
                # The exit comes before any other handler.
                sys.stderr.write(f"{self.format(record)}\nthe storage engine has failed: exiting\n")
                sys.stderr.flush()
            finally:
                # The log may be on the same full disk.
                os._exit(DISK_FULL_EXIT_CODE if full else 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), ChildSettings(**json.loads(sys.argv[2]))))
