"""How a thousand million records would lie on shards, by the shard key and by how unequal clients are.

    python -m benchmarks.sharding

It runs no database. The million largest clients are placed one by one, by a hash of their ids. Of the others, too many
to be placed and each too small to matter, it takes the sum, with the deviation that as many independent draws have. The
seed is fixed: every run prints the same. docs/scaling.md holds what it printed, and says what that proves.
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
# What the balancer counts: a document as the retrying client creates it, uncompressed and without indexes.
_BYTES_OF_A_RECORD = 650
# MongoDB's defaults: a range that is moved in one piece, and the difference at which the balancer begins to move.
_RANGE = 128 * 2**20
_THRESHOLD = 3 * _RANGE
_SHARDS = (2, 4, 8, 16, 32, 64)
_PLACED = 1_000_000
_SEED = 20260101


@dataclass(frozen=True)
class Skew:
    """How many records clients have: in proportion to `rank ** -exponent`, but none has more than `most`.

    Attributes:
        name: for the table.
        clients: how many there are.
        exponent: 0 means that all have the same; 1 is Zipf's law.
        most: the cap; None means none.
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
    """The clients: the records of each of the largest, and of the others together their sum and sum of squares."""

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
    """Return how many records a weight of 1 stands for, so that the sum is right: what a cap cuts off, others have."""
    unit, capped = RECORDS / (sum(weights) + rest), 0
    while most is not None:
        before, capped = capped, sum(weight * unit > most for weight in weights)
        if capped == before:
            break
        unit = (RECORDS - capped * most) / (sum(weights[capped:]) + rest)
    return unit


def _power_sum(after: int, until: int, exponent: float) -> float:
    """Return the sum of `rank ** -exponent` for the ranks in (after, until], by its integral."""
    low, high = after + 0.5, until + 0.5
    if exponent == 1.0:
        return log(high / low)
    return float((high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent))


def hashed(skew: Skew, shards: int) -> list[float]:
    """Return the records of each shard when each has an equal part of the hashes, and nothing is moved."""
    clients = population(skew)
    draws = random.Random(_SEED)  # noqa: S311  # not for secrets
    deviation = sqrt(clients.squares_of_others / shards * (1 - 1 / shards))
    found = [clients.others / shards + draws.gauss(0, deviation) for _ in range(shards)]
    for rank, records in enumerate(clients.largest):
        found[_hash(rank) * shards >> 64] += records
    return found


def balanced(skew: Skew, shards: int, *, divisible: bool) -> list[float]:
    """Return the records of each shard after the balancer has moved what it moves: not what is larger than a range.

    Args:
        skew: of the clients.
        shards: how many.
        divisible: whether the records of one client may lie on several shards, as with `_id` in the shard key.
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
    """Return the shards after so many more records, range by range on the emptiest, up to the balancer's threshold."""
    found = sorted(shards)
    for filled in range(1, len(found) + 1):
        level = (sum(found[:filled]) + records) / filled
        if filled == len(found) or level <= found[filled]:
            # It stops moving when the fullest and the emptiest differ by less than the threshold.
            slack = min(_THRESHOLD / _BYTES_OF_A_RECORD / 2, level)
            return [level - slack, *[level] * (filled - 2), level + slack, *found[filled:]] if filled > 1 else found
    return found


@cache
def _hash(rank: int) -> int:
    """Return 64 bits of a client's id. MongoDB's hashed indexes take the first 64 bits of an MD5 as well."""
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
