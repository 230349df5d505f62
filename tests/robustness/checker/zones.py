"""Registers whose every value is written once: can all who saw a value have seen it?

Such a register holds each of its values in one stretch of time. Whoever saw a value, or wrote it, did so at some moment
of its call. When one of these calls ended before another one began, the register held the value all the time between:
from the earliest end to the latest beginning, its *forward zone*. When they all overlap, it held the value at some
moment of their common time: the *backward zone*. The calls have an order that explains them just when no two forward
zones overlap and no backward zone lies inside a forward one (Gibbons and Korach, "Testing Shared Memories", 1997).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.robustness.history import Call


class Sighting(NamedTuple):
    """A call that shows that a register held a value at some moment of it."""

    began: float
    ended: float
    call: Call


@dataclass(frozen=True, slots=True)
class Zone:
    """When a register held a value, at the least.

    Attributes:
        value: which.
        first: the sighting that ended first.
        last: the sighting that began last.
    """

    value: str
    first: Sighting
    last: Sighting

    @property
    def forward(self) -> bool:
        """Whether the value was held from the end of the first until the beginning of the last."""
        return self.first.ended < self.last.began

    @property
    def low(self) -> float:
        """Where the zone begins."""
        return min(self.first.ended, self.last.began)

    @property
    def high(self) -> float:
        """Where the zone ends."""
        return max(self.first.ended, self.last.began)

    @property
    def calls(self) -> list[Call]:
        """The calls that prove it."""
        return [self.first.call] if self.first == self.last else [self.first.call, self.last.call]


def zones_of(sightings: Mapping[str, Sequence[Sighting]]) -> list[Zone]:
    """Return the zone of each value of one register."""
    return [
        Zone(value, min(seen, key=lambda one: one.ended), max(seen, key=lambda one: one.began))
        for value, seen in sightings.items()
    ]


def clashes(zones: Iterable[Zone]) -> Iterator[tuple[Zone, Zone]]:
    """Yield pairs of zones of one register that cannot both be; not all such pairs, but some if there are any."""
    zones = list(zones)
    cover = Cover(zones)
    yield from cover.overlapping
    for zone in zones:
        if not zone.forward and (outer := cover.around(zone.low, zone.high)) is not None:
            yield outer, zone


class Cover:
    """The forward zones of a register, to be asked what lies in them.

    Attributes:
        overlapping: pairs of them that overlap.
    """

    def __init__(self, zones: Iterable[Zone]) -> None:
        self.overlapping: list[tuple[Zone, Zone]] = []
        self._zones: list[Zone] = []
        for zone in sorted((zone for zone in zones if zone.forward), key=lambda zone: zone.low):
            if self._zones and zone.low < self._zones[-1].high:
                self.overlapping.append((self._zones[-1], zone))
            else:
                self._zones.append(zone)
        self._lows = [zone.low for zone in self._zones]

    def around(self, low: float, high: float) -> Zone | None:
        """Return the zone that has this stretch of time in it, with something to spare on both sides."""
        position = bisect_left(self._lows, low) - 1
        if position < 0:
            return None
        zone = self._zones[position]
        return zone if high < zone.high else None
