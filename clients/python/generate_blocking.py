"""Generate the blocking client from the asynchronous one: `make protos`.

With `--check`, write nothing and fail if a committed file differs from what would be generated.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent / "contactsvc_client"
_SOURCES, _TARGETS = _PACKAGE / "_async", _PACKAGE / "_blocking"
_HEADER = "# Generated from {source} by `make protos`; never edited by hand.\n"

# Applied in this order, to every source.
_REPLACEMENTS = (
    (r"asynchronous client", "blocking client"),
    (r"; the blocking client is generated from it", ""),
    (r"async with", "with"),
    (r"async for", "for"),
    (r"async def", "def"),
    (r"aclosing", "closing"),
    (r"await ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"contactsvc_client\._async\b", "contactsvc_client._blocking"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"import asyncio\n", ""),
    (r"asyncio\.sleep", "time.sleep"),
    (r"import grpc\.aio\n", ""),
    (r"grpc\.aio\.", "grpc."),
    (r" *# Not in __init__: a channel belongs to the event loop it is made in\.\n", ""),
)


def blocking_sources() -> dict[Path, str]:
    """Return the source of each file of the blocking client."""
    sources = {path: path.read_text() for path in sorted(_SOURCES.glob("*.py"))}
    for pattern, replacement in _REPLACEMENTS:
        if not any(re.search(pattern, source) for source in sources.values()):
            raise SystemExit(f"{pattern!r} matches nothing in {_SOURCES.name}; update {Path(__file__).name}")
        sources = {path: re.sub(pattern, replacement, source) for path, source in sources.items()}
    return {
        _TARGETS / path.name: _formatted(_TARGETS / path.name, _HEADER.format(source=f"_async/{path.name}") + source)
        for path, source in sources.items()
    }


def _formatted(path: Path, source: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    stdin_name = ["--stdin-filename", str(path)]
    for command in ([*ruff, "check", "--quiet", "--fix", "--select", "I", *stdin_name], [*ruff, "format", *stdin_name]):
        # The project's own code and its own formatter.
        source = subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
    return source


def main() -> None:
    """Write the files, or check them."""
    generated = blocking_sources()
    extra = set(_TARGETS.glob("*.py")) - generated.keys()
    if "--check" not in sys.argv:
        for path, source in generated.items():
            path.write_text(source)
        for path in extra:
            path.unlink()
        return
    stale = [path.name for path, source in generated.items() if not path.exists() or path.read_text() != source]
    if stale or extra:
        names = ", ".join([*stale, *(path.name for path in extra)])
        raise SystemExit(f"stale files in {_TARGETS.name}: {names}; run `make protos`")


if __name__ == "__main__":
    main()
