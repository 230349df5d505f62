"""Writes the blocking client from the asynchronous one, so that there is one source for both: `make protos`.

With `--check` it writes nothing, and fails when the committed file is not what it would write.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent / "contactsvc_client"
_SOURCE, _TARGET = _PACKAGE / "_async_client.py", _PACKAGE / "_blocking_client.py"

# Applied in this order.
_REPLACEMENTS = (
    (
        r'^"""The asynchronous client\."""',
        '"""The blocking client. Generated from _async_client.py by `make protos`."""',
    ),
    (r"async with", "with"),
    (r"async for", "for"),
    (r"async def", "def"),
    (r"aclosing", "closing"),
    (r"await ", ""),
    (r"AsyncGenerator", "Generator"),
    (r"AsyncIterator", "Iterator"),
    (r"AsyncContact", "Contact"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"import grpc\.aio\n", ""),
    (r"grpc\.aio\.", "grpc."),
    (r" *# Not in __init__: a channel belongs to the event loop it is made in\.\n", ""),
)


def blocking_source() -> str:
    """Return the source of the blocking client."""
    source = _SOURCE.read_text()
    for pattern, replacement in _REPLACEMENTS:
        source, found = re.subn(pattern, replacement, source)
        if not found:
            raise SystemExit(f"{_SOURCE.name} has no {pattern!r} any more; mend {Path(__file__).name}")
    ruff = [sys.executable, "-m", "ruff"]
    stdin_name = ["--stdin-filename", str(_TARGET)]
    for command in ([*ruff, "check", "--quiet", "--fix", "--select", "I", *stdin_name], [*ruff, "format", *stdin_name]):
        # Our own code through our own formatter.
        source = subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
    return source


if __name__ == "__main__":
    generated = blocking_source()
    if "--check" not in sys.argv:
        _TARGET.write_text(generated)
    elif _TARGET.read_text() != generated:
        raise SystemExit(f"{_TARGET.name} is not fresh; run `make protos`")
