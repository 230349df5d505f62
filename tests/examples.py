"""How many examples tests generate: few in `make test`, many in `make test-long`."""

from __future__ import annotations

import os

from hypothesis import settings

LONG = "long"
"""The Hypothesis profile of `make test-long`, and the marker of tests that run only there."""

settings.register_profile(LONG, max_examples=500, deadline=None)


def examples(default: int, long: int, variable: str) -> int:
    """Return the number of examples of a test.

    Args:
        default: in `make test`.
        long: in `make test-long`.
        variable: an environment variable that overrides both.
    """
    if variable in os.environ:
        return int(os.environ[variable])
    return long if settings.get_current_profile_name() == LONG else default
