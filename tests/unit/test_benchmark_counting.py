"""Requests and counting of the load generator of the benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from benchmarks import cases, generator
from benchmarks.closed_loop import PLACEHOLDER, ClosedLoop
from benchmarks.sampling import Sample
from contactsvc.v1 import contact_methods_pb2 as pb


def case(name: str) -> cases.Case:
    return next(one for one in cases.all_cases(100, 100) if one.name == name)


def test_each_update_has_a_label_of_its_own() -> None:
    loop = ClosedLoop(case("update").messages[:1])

    sent = [pb.UpdateContactMethodRequest.FromString(loop.next_request() or b"") for _ in range(2)]

    assert sent[0].id == sent[1].id
    assert len({PLACEHOLDER, sent[0].label, sent[1].label}) == 3


def test_each_retry_safe_create_has_a_request_id_of_its_own() -> None:
    loop = ClosedLoop(case("create-retry-safe").messages[:1])

    sent = [pb.CreateContactMethodRequest.FromString(loop.next_request() or b"") for _ in range(2)]

    assert len({PLACEHOLDER, sent[0].request_id, sent[1].request_id}) == 3


def test_an_http_update_keeps_the_length_of_its_body() -> None:
    request = ClosedLoop(case("update").http[:1]).next_request() or b""

    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(json.loads(body)["label"]) == len(PLACEHOLDER)


def test_every_case_has_the_name_by_which_the_command_line_selects_it() -> None:
    assert tuple(one.name for one in cases.all_cases(100, 100)) == cases.NAMES


async def test_the_wait_for_the_next_end_is_over_when_no_call_is_left() -> None:
    loop = ClosedLoop([b"request"])
    loop.next_request()
    waiting = asyncio.create_task(loop.next_end())
    await asyncio.sleep(0)

    loop.stop()
    loop.ended(0.0, succeeded=False)

    assert await waiting is False
    assert await loop.next_end() is False


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _measured(tmp_path: Path, **options: Any) -> Sample:
    """Measure a server that answers at once."""
    requests = tmp_path / "requests"
    generator.write_requests(requests, [b"GET / HTTP/1.1\r\n\r\n"])
    async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        return await generator.measure(
            generator.command(
                protocol="http",
                address=f"{host}:{port}",
                method="",
                metadata=[],
                requests=requests,
                in_flight=1,
                warmup=0.0,
                seconds=0.0,
                keep=None,
                server=os.getpid(),
                database=None,
                **options,
            )
        )


async def test_a_turn_lasts_until_it_has_its_smallest_number_of_whole_calls(tmp_path: Path) -> None:
    sample = await _measured(tmp_path, min_calls=12, calls=None)

    assert sample.calls >= 12
    # From the end of a call to the end of another: the calls fill the whole time.
    assert sample.seconds >= sample.p50


async def test_a_turn_of_a_fixed_number_has_just_these_calls(tmp_path: Path) -> None:
    sample = await _measured(tmp_path, min_calls=1, calls=3)

    assert (sample.calls, sample.errors) == (3, 0)
