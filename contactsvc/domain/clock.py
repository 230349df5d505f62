"""The time of records: aware, in UTC, in whole milliseconds (all that the store keeps)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where Unix time begins."""

Clock = Callable[[], datetime]
"""Returns the present time, aware and in UTC, cut to milliseconds."""


def now_utc() -> datetime:
    """Return the present time in UTC, cut to milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
