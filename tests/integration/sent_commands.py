"""The commands that a deployment has sent to its database."""

from __future__ import annotations

import threading


class SentCommands:
    """Receives the events of a deployment's commands. Thread-safe.

    Those that authenticate a new connection are left out: a connection may be opened at any time.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._lock = threading.Lock()

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Note a command."""
        if not command.startswith("sasl"):
            with self._lock:
                self._names.append(command)

    def connections_changed(self, state: str, by: int) -> None:
        """Do nothing."""

    def taken(self) -> list[str]:
        """Return the names of the commands since the last call, in the order of their ends."""
        with self._lock:
            names, self._names = self._names, []
        return names
