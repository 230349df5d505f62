"""A worker's connection to its supervisor. Knows neither gRPC nor the database.

A worker stops when the supervisor exits: it alone holds the port, runs the embedded database and restarts workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

from contactsvc.runtime.signals import Signals
from contactsvc.runtime.worker_metrics import families_of
from contactsvc.runtime.worker_protocol import MAX_MESSAGE_BYTES, encode, read_message

_STANDARD_INPUT = 0

_log = logging.getLogger(__name__)


class SupervisorLink:
    """The connection to the supervisor.

    Attributes:
        worker: number of this worker.
        flags: flags of `serve`.
    """

    def __init__(self, first: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.worker: int = first["worker"]
        self.flags: dict[str, str | None] = first["flags"]
        self._reader = reader
        self._writer = writer
        self._registry: CollectorRegistry | None = None
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def met(cls) -> SupervisorLink | None:
        """Wait for the first message and return the connection; None when the supervisor exits without one."""
        # A duplicate, so that standard input stays open for `tell_why` until the process ends.
        connection = socket.socket(fileno=os.dup(_STANDARD_INPUT))
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_MESSAGE_BYTES)
        first = await read_message(reader)
        return None if first is None else cls(first, reader, writer)

    def follow(self, signals: Signals) -> None:
        """Relay stop messages, and the end of the supervisor, to `signals`."""
        self._listening = asyncio.create_task(self._listen(signals))

    def show(self, registry: CollectorRegistry) -> None:
        """Answer questions about metrics from this registry."""
        self._registry = registry

    def serving(self, _: object) -> None:
        """Report that this worker accepts calls."""
        self._send({"serving": True})

    async def _listen(self, signals: Signals) -> None:
        try:
            while (message := await read_message(self._reader)) is not None:
                if "signals" in message:
                    signals.raise_to(message["signals"])
                elif message["about"] == "metrics" and self._registry is not None:
                    # In a thread, as prometheus_client collects for a scrape.
                    families = await asyncio.to_thread(families_of, self._registry)
                    self._send({"answer": message["question"], "families": families})
                else:
                    self._send({"answer": message["question"], "families": []})
            _log.error("the supervisor has exited: stopping")
        except ConnectionError:
            _log.error("the supervisor has exited without reading the last messages of this worker: stopping")
        except Exception as error:
            _log.error("unreadable message from the supervisor: stopping", exc_info=error)
        signals.abandon()

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(encode(message))


def has_supervisor() -> bool:
    """Return whether a supervisor started this process, rather than a user."""
    return stat.S_ISSOCK(os.fstat(_STANDARD_INPUT).st_mode)


def tell_why(message: str, exit_code: int) -> None:
    """Report, as the last message, why this process ends."""
    # The supervisor may have exited.
    with suppress(ConnectionError):
        os.write(_STANDARD_INPUT, encode({"failed": message, "exit_code": exit_code}))
