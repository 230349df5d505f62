"""Settings of glibc's malloc, so that memory goes back to the system once it is free."""

from __future__ import annotations

import ctypes

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# glibc's own values to begin with. Unless they are set, it raises both, up to 32 MiB and twice that, after the first
# large allocation is freed, and keeps what later ones free.
_THRESHOLD_BYTES = 128 * 1024
# By default eight per core, of which each keeps what a driver's threads have freed.
_MAX_ARENAS = 2


def configure() -> None:
    """Configure malloc; without effect where it is not glibc's."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in (
        (_M_MMAP_THRESHOLD, _THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _THRESHOLD_BYTES),
        (_M_ARENA_MAX, _MAX_ARENAS),
    ):
        mallopt(option, value)
