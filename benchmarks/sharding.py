"""A simulation of 10^9 records on shards, by shard key and by the distribution of records over clients.

    python -m benchmarks.sharding

It needs no database. The million largest clients are placed one by one, by a hash of their ids. The others, each too
small to matter, are placed as a sum, with the deviation of as many independent draws. The seed is fixed, so that every
run prints the same. docs/scaling.md has the output and its interpretation.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import md5
from math import log, sqrt

from benchmarks.tables import table

RECORDS = 1_000_000_000
# The size that the balancer counts: a document of a retry-safe create, uncompressed and without indexes.
_BYTES_OF_A_RECORD = 650
# MongoDB's defaults: the largest range that is moved in one piece, and the difference at which the balancer starts.
_RANGE = 128 * 2**20
_THRESHOLD = 3 * _RANGE
_SHARDS = (2, 4, 8, 16, 32, 64)
_PLACED = 1_000_000
_SEED = 20260101


@dataclass(frozen=True)
class Skew:
    """A distribution of records over clients: in proportion to `rank ** -exponent`, up to a maximum.

    Attributes:
        name: its name in the table.
        clients: the number of clients.
        exponent: 0 gives all clients the same number; 1 is Zipf's law.
        most: the largest number of records of a client; None means no maximum.
    """

    name: str
    clients: int
    exponent: float
    most: float | None = None


_SKEWS = (
    Skew("all alike, 5 each", 200_000_000, 0.0),
    Skew("Zipf 0.8, none over 10,000", 200_000_000, 0.8, 10_000),
    Skew("Zipf 0.8", 200_000_000, 0.8),
    Skew("Zipf 1.0", 200_000_000, 1.0),
    Skew("Zipf 1.2", 200_000_000, 1.2),
)


@dataclass(frozen=True)
class Population:
    """The records of each of the largest clients, and the sum and the sum of squares of all others."""

    largest: list[float]
    others: float
    squares_of_others: float


@cache
def population(skew: Skew) -> Population:
    """Return the clients of a skew."""
    placed = min(_PLACED, skew.clients)
    weights = [rank**-skew.exponent for rank in range(1, placed + 1)]
    rest = _power_sum(placed, skew.clients, skew.exponent)
    rest_squares = _power_sum(placed, skew.clients, 2 * skew.exponent)
    unit = _unit(weights, rest, skew.most)
    largest = [min(weight * unit, skew.most or RECORDS) for weight in weights]
    return Population(largest, rest * unit, rest_squares * unit**2)


def _unit(weights: list[float], rest: float, most: float | None) -> float:
    """Return the records per weight of 1, such that the sum is right: those above the maximum go to other clients."""
    unit, capped = RECORDS / (sum(weights) + rest), 0
    while most is not None:
        before, capped = capped, sum(weight * unit > most for weight in weights)
        if capped == before:
            break
        unit = (RECORDS - capped * most) / (sum(weights[capped:]) + rest)
    return unit


def _power_sum(after: int, until: int, exponent: float) -> float:
    """Return the sum of `rank ** -exponent` over the ranks in (after, until], approximated by the integral."""
    low, high = after + 0.5, until + 0.5
    if exponent == 1.0:
        return log(high / low)
    return float((high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent))


def hashed(skew: Skew, shards: int) -> list[float]:
    """Return the records of each shard if each has an equal part of the hashes, and the balancer moves nothing."""
    clients = population(skew)
    draws = random.Random(_SEED)  # noqa: S311  # not for secrets
    deviation = sqrt(clients.squares_of_others / shards * (1 - 1 / shards))
    found = [clients.others / shards + draws.gauss(0, deviation) for _ in range(shards)]
    for rank, records in enumerate(clients.largest):
        found[_hash(rank) * shards >> 64] += records
    return found


def balanced(skew: Skew, shards: int, *, divisible: bool) -> list[float]:
    """Return the records of each shard after the balancer has moved all clients that fit into a range.

    Args:
        skew: the distribution over clients.
        shards: the number of shards.
        divisible: whether the records of a client may lie on several shards, as with `_id` in the shard key.
    """
    in_a_range = _RANGE / _BYTES_OF_A_RECORD
    if divisible:
        return _level([0.0] * shards, RECORDS)
    clients = population(skew)
    jumbo = [0.0] * shards
    for rank, records in enumerate(clients.largest):
        if records > in_a_range:
            jumbo[_hash(rank) * shards >> 64] += records
    return _level(jumbo, RECORDS - sum(jumbo))


def _level(shards: list[float], records: float) -> list[float]:
    """Return the shards after adding records to the emptiest, range by range, within the balancer's threshold."""
    found = sorted(shards)
    for filled in range(1, len(found) + 1):
        level = (sum(found[:filled]) + records) / filled
        if filled == len(found) or level <= found[filled]:
            # The balancer stops when the fullest and the emptiest differ by less than the threshold.
            slack = min(_THRESHOLD / _BYTES_OF_A_RECORD / 2, level)
            return [level - slack, *[level] * (filled - 2), level + slack, *found[filled:]] if filled > 1 else found
    return found


@cache
def _hash(rank: int) -> int:
    """Return a hash of 64 bits of a client's id: the first bits of an MD5, as in MongoDB's hashed indexes."""
    return int.from_bytes(md5(b"client-%d" % rank, usedforsecurity=False).digest()[:8], "big")


def _over_mean(shards: list[float]) -> str:
    return f"{max(shards) * len(shards) / sum(shards):.3f}"


def report() -> str:
    """Return the tables."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    for skew in _SKEWS:
        clients = population(skew)
        jumbo = sum(records * _BYTES_OF_A_RECORD > _RANGE for records in clients.largest)
        biggest = clients.largest[0]
        rows.append((skew.name, f"{biggest:,.0f}", f"{biggest / RECORDS:.4%}", f"{jumbo:,}"))
    head = ("clients", "records of the largest", "its share", "clients over one range of 128 MiB")
    parts.append(table(head, rows))
    for title, shards_of in (
        ("{client_id: hashed}, as hashes fall", hashed),
        ("{client_id}, after the balancer", lambda skew, count: balanced(skew, count, divisible=False)),
        ("{client_id, _id}, after the balancer", lambda skew, count: balanced(skew, count, divisible=True)),
    ):
        rows = [(skew.name, *(_over_mean(shards_of(skew, count)) for count in _SHARDS)) for skew in _SKEWS]
        parts.append(table((f"{title}: fullest / mean", *(f"{count} shards" for count in _SHARDS)), rows))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report())
