"""The environments: worlds of contact methods between which nothing crosses."""

from enum import StrEnum


class Environment(StrEnum):
    """An environment; its value is what callers write."""

    LIVE = "live"
    TEST = "test"
