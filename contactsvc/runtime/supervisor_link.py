"""A worker's end of the line to its supervisor (workers.py): one of several processes that serve on one port.

The line is a socket in the place of standard input, and carries JSON, one message per line. When it ends, the
supervisor has gone, however it went, and the worker stops: nobody is left to hold the port, to run the embedded
database, and to start another worker. Knows nothing of gRPC and of the database.

    supervisor → worker   {"worker": 0, "flags": {...}}              first: who it is and what `serve` was told
                          {"signals": 1}                             stop; with 2, at once
                          {"question": 7, "about": "metrics"}        or about "life"
    worker → supervisor   {"serving": true}                          it answers calls
                          {"answer": 7, "families": [...]}           the answer to that question
                          {"failed": "why", "exit_code": 2}          last: why it does not start
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Metric

from contactsvc.runtime.signals import Signals

LONGEST_MESSAGE = 16 * 1024 * 1024
_STANDARD_INPUT = 0

_log = logging.getLogger(__name__)


class SupervisorLink:
    """The supervisor, as its worker sees it.

    Attributes:
        worker: the number of this worker.
        flags: what `serve` was told.
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
        """Wait for what the supervisor says first, and return it, or None when it leaves without a word."""
        # A copy, so that standard input stays open, for `tell_why` and until the very end of this process.
        line = socket.socket(fileno=os.dup(_STANDARD_INPUT))
        reader, writer = await asyncio.open_unix_connection(sock=line, limit=LONGEST_MESSAGE)
        first = await reader.readline()
        return cls(json.loads(first), reader, writer) if first else None

    def follow(self, signals: Signals) -> None:
        """From now on, pass on when the supervisor says stop, and when it has gone."""
        self._listening = asyncio.create_task(self._listen(signals))

    def show(self, registry: CollectorRegistry) -> None:
        """From now on, answer questions for metrics from this registry."""
        self._registry = registry

    def serving(self, _: object) -> None:
        """Say that this worker answers calls."""
        self._send({"serving": True})

    async def _listen(self, signals: Signals) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "signals" in message:
                    signals.amount_to(message["signals"])
                elif message["about"] == "metrics" and self._registry is not None:
                    # In a thread, as every scrape.
                    families = await asyncio.to_thread(families_of, self._registry)
                    self._send({"answer": message["question"], "families": families})
                else:
                    self._send({"answer": message["question"], "families": []})
            _log.error("the supervisor has gone: stopping")
        except ConnectionError:
            _log.error("the supervisor has gone, and left unread what this worker has said: stopping")
        except Exception as error:
            _log.error("what the supervisor says cannot be followed: stopping", exc_info=error)
        signals.abandon()

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(encoded(message))


def has_supervisor() -> bool:
    """Return whether this process was started as a worker, and not by hand."""
    return stat.S_ISSOCK(os.fstat(_STANDARD_INPUT).st_mode)


def tell_why(message: str, exit_code: int) -> None:
    """Tell the supervisor, as the last word, why this process ends."""
    # When it has gone there is nobody to tell.
    with suppress(ConnectionError):
        os.write(_STANDARD_INPUT, encoded({"failed": message, "exit_code": exit_code}))


def encoded(message: Mapping[str, Any]) -> bytes:
    """Return a message as it travels."""
    return json.dumps(message).encode() + b"\n"


def families_of(registry: CollectorRegistry) -> list[Any]:
    """Return all metrics of a registry, as JSON can carry them."""
    return [
        [family.name, family.documentation, family.type, [[s.name, s.labels, s.value] for s in family.samples]]
        for family in registry.collect()
    ]


def add_families(families: list[Any], worker: int, to: dict[str, Metric]) -> None:
    """Add the metrics of a worker to those of others, its number on every sample.

    Args:
        families: what `families_of` has returned in the worker.
        worker: its number.
        to: the metrics, by name.
    """
    for name, documentation, kind, samples in families:
        metric = to.setdefault(name, Metric(name, documentation, kind))
        for sample, labels, value in samples:
            metric.add_sample(sample, {"worker": str(worker), **labels}, value)
