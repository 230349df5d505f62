"""Evaluation of benchmark measurements; `make bench` does the measuring."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from benchmarks import sharding
from benchmarks.closed_loop import ClosedLoop
from benchmarks.http1 import Http1Connection
from benchmarks.results import Measurement, Rounds
from benchmarks.sampling import Sample
from benchmarks.targets import verdicts


def measured(server: str, server_us: float, *, number: int = 1, case: str = "get", in_flight: int = 64) -> Measurement:
    sample = Sample(
        seconds=1.0,
        calls=1_000,
        errors=0,
        p50=0.001,
        p99=0.002,
        server_cpu=server_us / 1_000,
        database_cpu=0.0,
        generator_cpu=0.0,
        others_cpu=0.0,
        resident=0,
    )
    return Measurement(case, case, 1, in_flight, server, number, sample)


@pytest.mark.parametrize(("server_us", "met"), [(125.0, True), (126.0, False)])
def test_a_target_is_met_up_to_its_limit(server_us: float, met: bool) -> None:
    found = verdicts([measured("floor", 100.0), measured("contactsvc", server_us)])

    assert [(one.target.other, one.met) for one in found] == [("floor", met)]


def test_a_target_that_was_not_measured_has_no_verdict() -> None:
    assert verdicts([measured("contactsvc", 100.0), measured("floor", 100.0, in_flight=8)]) == []


def test_ratios_are_taken_within_rounds() -> None:
    rounds = Rounds(
        [
            measured(server, server_us, number=number)
            for number, ours, others in ((1, 20.0, 10.0), (2, 90.0, 30.0), (3, 8.0, 2.0))
            for server, server_us in (("contactsvc", ours), ("node", others))
        ]
    )

    # The median of 2, 3 and 4. The ratio of the medians would be 20 to 10.
    assert rounds.ratio("server_us", "get", 64, "contactsvc", "node") == pytest.approx(3.0)


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 10}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"a": 10}\r\n0\r\n\r\n',
    ],
    ids=["length", "chunked"],
)
async def test_an_http_answer_ends_where_it_ends_however_it_is_cut(answer: bytes, size: int) -> None:
    loop, wire = ClosedLoop([b"request"], most=2, keep=True), _Wire()
    connection = Http1Connection(loop)
    connection.connection_made(wire)

    for at in range(0, len(answer) - 1, size):
        connection.data_received(answer[at : min(at + size, len(answer) - 1)])
    assert loop.latencies == []
    connection.data_received(answer[-1:])

    assert (len(loop.latencies), loop.errors, len(wire.written)) == (1, 0, 2)
    assert b'{"a": 10}' in b"".join(loop.bodies)


def test_the_records_of_a_simulation_all_lie_somewhere() -> None:
    skew = sharding.Skew("few", 1_000, 1.0, most=20_000_000)

    for shards in (
        sharding.hashed(skew, 8),
        sharding.balanced(skew, 8, divisible=False),
        sharding.balanced(skew, 8, divisible=True),
    ):
        assert len(shards) == 8
        assert sum(shards) == pytest.approx(sharding.RECORDS)


def test_a_client_that_cannot_be_split_makes_its_shard_the_fullest() -> None:
    skew = sharding.Skew("one giant", 1_000, 2.0)
    giant = sharding.population(skew).largest[0]

    assert max(sharding.balanced(skew, 8, divisible=False)) >= giant > sharding.RECORDS / 2
    assert max(sharding.balanced(skew, 8, divisible=True)) < giant
