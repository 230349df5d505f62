"""Writing of generated files, or with `--check` their comparison with what is committed."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(target: Path, text: str) -> None:
    """Write a file; with `--check` among the arguments of the program, only compare it.

    Raises:
        SystemExit: the file is stale.
    """
    if "--check" not in sys.argv:
        target.write_text(text)
    elif target.read_text() != text:
        raise SystemExit(f"{target.name} is stale; run `make docs`")
