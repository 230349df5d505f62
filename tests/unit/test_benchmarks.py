"""Evaluation of benchmark measurements; `make bench` does the measuring."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sharding, toolchains
from benchmarks.cases import all_cases
from benchmarks.closed_loop import ClosedLoop
from benchmarks.http1 import Http1Connection
from benchmarks.results import Measurement, Rounds
from benchmarks.sampling import Sample
from benchmarks.targets import TARGETS, verdicts
from benchmarks.toolchains import ServerUnavailable


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


@pytest.mark.parametrize(
    ("ours", "server_us", "met"),
    [
        ("contactsvc", 165.0, True),
        ("contactsvc", 166.0, False),
        ("pymongo", 150.0, True),
        ("pymongo", 151.0, False),
    ],
)
def test_a_target_is_met_up_to_its_limit(ours: str, server_us: float, met: bool) -> None:
    found = verdicts([measured("floor", 100.0), measured(ours, server_us)])

    assert [(one.target.ours, one.other, one.met) for one in found] == [(ours, "floor", met)]


def test_the_best_of_the_measured_peers_counts() -> None:
    peers = [measured("fastapi", 30.0, case="stream", in_flight=1), measured("go", 20.0, case="stream", in_flight=1)]

    found = verdicts([*peers, measured("contactsvc", 25.0, case="stream", in_flight=1)])

    assert [(one.other, one.ratio, one.met) for one in found if one.target.figure == "server_us"] == [
        ("go", 1.25, False)
    ]


def test_every_target_names_a_case_and_servers() -> None:
    known = {one.name: one for one in all_cases(100, 100)}

    for target in TARGETS:
        assert {target.ours, *target.others} <= set(known[target.case].servers)


async def test_a_peer_is_left_out_when_its_tools_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServerUnavailable, match="Go is not installed"):
        await toolchains.build_go_peer(tmp_path)
    with pytest.raises(ServerUnavailable, match="Node is not installed"):
        await toolchains.install_node_packages(tmp_path)


async def test_a_build_that_fails_is_explained_by_its_first_errors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go: downloading a module' >&2\necho 'go: go.mod requires go >= 9' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(ServerUnavailable, match=r"^go build failed: go: go\.mod requires go >= 9$"):
        await toolchains.build_go_peer(tmp_path)


def test_a_report_names_the_releases_of_the_peers() -> None:
    versions = toolchains.go_module_versions() | toolchains.node_package_versions()

    assert {"grpc-go", "mongo-driver", "mongodb", "@grpc/grpc-js"} <= set(versions)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())


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
    loop, wire = ClosedLoop([b"request"], max_calls=2, keep=True), _Wire()
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
