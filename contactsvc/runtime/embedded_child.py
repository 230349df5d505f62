"""Process of the embedded database: `python -m contactsvc.runtime.embedded_child PORT DIRECTORY IDLE_SECONDS`.

Serves SecantusDB on a loopback port until standard input ends, which happens however the parent process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

from contactsvc.runtime.embedded_workaround import decode_indexes_once_per_statement

# Less than what the parent (`embedded._STOP_TIMEOUT_SECONDS`) and the next service wait for a hanging process.
_STOP_TIMEOUT_SECONDS = 15.0


def main(port: int, directory: str, idle_transaction_seconds: float) -> int:
    """Run SecantusDB until standard input ends or SIGTERM arrives.

    Args:
        port: of the loopback address.
        directory: files of the storage engine.
        idle_transaction_seconds: idle time after which a transaction is aborted.
    """
    from secantus.server import SecantusDBServer

    decode_indexes_once_per_statement()
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("secantus").addHandler(_ExitOnPanic())
    server = SecantusDBServer(
        "127.0.0.1",
        port,
        directory,
        enable_test_commands=False,
        # An acknowledged write has reached the disk, as on MongoDB. This adds a sixth to the time of a write.
        sync_on_commit=True,
        transaction_lifetime_seconds=idle_transaction_seconds,
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.start()
    server.wait()
    return 0


def _stop_with_the_parent() -> None:
    # Not sys.stdin.read(): this thread would hold its lock, which the exit of the interpreter needs.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # SecantusDB was seen to wait forever for the writes of a killed service. The next start replays the journal.
    time.sleep(_STOP_TIMEOUT_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


class _ExitOnPanic(logging.Handler):
    """Ends the process when its storage engine has failed, for example on a full disk.

    SecantusDB itself keeps running and answers every command with an internal error. Exiting at once loses nothing:
    the engine no longer writes, and the journal holds every acknowledged write.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Exit when the record reports a panic of the engine."""
        if record.exc_info and "WT_PANIC" in str(record.exc_info[1]):
            try:
                # The exit comes before any other handler.
                sys.stderr.write(f"{self.format(record)}\nthe storage engine has failed: exiting\n")
                sys.stderr.flush()
            finally:
                # The log may be on the same full disk.
                os._exit(1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
