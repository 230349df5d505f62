"""Linearizability of registers in which every value is written once.

Such a register holds each value for one period. A call that saw or wrote a value did so at some moment of the call. If
one of the calls for a value ended before another began, the register held the value from the earliest end to the latest
start: the *forward zone*. If all of them overlap, it held the value at some moment of their common time: the *backward
zone*. An order of the calls that explains them exists if and only if no two forward zones overlap and no backward zone
lies within a forward one (Gibbons and Korach, "Testing Shared Memories", 1997).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.robustness.history import Call


class Sighting(NamedTuple):
    """A call during which, at some moment, a register held a value."""

    began: float
    ended: float
    call: Call


@dataclass(frozen=True, slots=True)
class Zone:
    """The minimal period in which a register held a value.

    Attributes:
        value: the value.
        first: the sighting that ended first.
        last: the sighting that began last.
    """

    value: str
    first: Sighting
    last: Sighting

    @property
    def forward(self) -> bool:
        """Whether it is a forward zone, from the end of the first sighting to the start of the last."""
        return self.first.ended < self.last.began

    @property
    def low(self) -> float:
        """The start of the zone."""
        return min(self.first.ended, self.last.began)

    @property
    def high(self) -> float:
        """The end of the zone."""
        return max(self.first.ended, self.last.began)

    @property
    def calls(self) -> list[Call]:
        """The calls that prove the zone."""
        return [self.first.call] if self.first == self.last else [self.first.call, self.last.call]


def zones_of(sightings: Mapping[str, Sequence[Sighting]]) -> list[Zone]:
    """Return the zone of each value of one register."""
    return [
        Zone(value, min(seen, key=lambda one: one.ended), max(seen, key=lambda one: one.began))
        for value, seen in sightings.items()
    ]


def clashes(zones: Iterable[Zone]) -> Iterator[tuple[Zone, Zone]]:
    """Yield contradictory pairs of zones of one register: not all of them, but some if there are any."""
    zones = list(zones)
    cover = Cover(zones)
    yield from cover.overlapping
    for zone in zones:
        if not zone.forward and (outer := cover.around(zone.low, zone.high)) is not None:
            yield outer, zone


class Cover:
    """The forward zones of a register, for lookups by time.

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
        """Return the zone that strictly contains this period."""
        position = bisect_left(self._lows, low) - 1
        if position < 0:
            return None
        zone = self._zones[position]
        return zone if high < zone.high else None
