"""How many examples tests generate: few in `make test`, many in `make test-long`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = "long"
"""The Hypothesis profile of `make test-long`, and the marker of tests that run only there."""

SHORT = "short"
"""The Hypothesis profile of `make test`."""

# A test says nothing about the speed of the machine: no deadline, and no check of how fast examples are made.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(SHORT, _UNTIMED)
settings.register_profile(LONG, _UNTIMED, max_examples=500)


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
