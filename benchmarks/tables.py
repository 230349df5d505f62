"""Tables of plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A figure, with or without a unit or a comparison.
_FIGURE = re.compile(r"(?:[<>]= )?[\d,.]+[ %x(].*|[\d,.]+|")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns under their heads: text aligned left, figures right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    is_text = [
        not head[column] or not all(_FIGURE.fullmatch(row[column]) for row in rows) for column in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, is_text, strict=True)
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths).rstrip(), *(line(row) for row in rows)])
