"""Messages between the supervisor and a worker.

JSON, one message per line, over the socket that is the worker's standard input.

    supervisor → worker   {"worker": 0, "flags": {...}}              first: number of the worker, flags of `serve`
                          {"signals": 1}                             stop; 2 stops at once
                          {"question": 7, "about": "metrics"}        or "life"
    worker → supervisor   {"serving": true}                          the worker accepts calls
                          {"answer": 7, "families": [...]}           answer to question 7; no families about "life"
                          {"failed": "why", "exit_code": 2}          last: why the worker does not start

The end of the stream means that the other process has ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as a line."""
    return json.dumps(message).encode() + b"\n"


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next message; None at the end of the stream.

    Raises:
        ConnectionError: the other process ended without reading everything that was sent to it.
    """
    line = await reader.readline()
    if not line.endswith(b"\n"):
        # Cut off by the end of the sender.
        return None
    message: dict[str, Any] = json.loads(line)
    return message
