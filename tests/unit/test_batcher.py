from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest

from contactsvc import deadlines, trace_context
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.store.coalescing.batcher import Batcher
from contactsvc.store.coalescing.group_commit import GroupCommit
from contactsvc.store.writes import Insert


class Database:
    """A fake database that holds each command until the test lets it go."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, str] = {}
        self.deadlines: list[float | None] = []
        self.spans: list[trace_context.Spans] = []
        self._arrived = asyncio.Condition()
        self._gates: list[asyncio.Event] = []
        self.bad: set[str] = set()
        self.gone = False

    async def read(self, keys: Collection[str]) -> Mapping[str, str]:
        await self._held(keys)
        return {key: self.answers[key] for key in keys if key in self.answers}

    async def write(self, writes: Sequence[Insert]) -> Sequence[Exception | None]:
        """Execute writes; those without an answer fail with an error of their own."""
        ids = [write.document["_id"] for write in writes]
        await self._held(ids)
        return [None if id_ in self.answers else KeyError(id_) for id_ in ids]

    async def _held(self, keys: Collection[str]) -> None:
        gate = asyncio.Event()
        async with self._arrived:
            self.commands.append(list(keys))
            self.deadlines.append(deadlines.when())
            self.spans.append(trace_context.spans())
            self._gates.append(gate)
            self._arrived.notify_all()
        await gate.wait()
        if self.gone:
            raise StoreUnavailable
        if self.bad & set(keys):
            raise ValueError("a bad key")

    async def let_go(self, number: int) -> None:
        """Wait until the command with this number has arrived, and let it end."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self._gates) > number)
        self._gates[number].set()

    async def arrived(self, number: int) -> None:
        """Wait until this number of commands has arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.commands) >= number)

    async def let_all_go(self, count: int) -> None:
        """Let this number of commands end, one after the other."""
        for number in range(count):
            await self.let_go(number)


FOREVER = 1e9


def insert(id_: str) -> Insert:
    return Insert({"_id": id_})


async def test_a_lone_read_is_sent_at_once_and_alone() -> None:
    database = Database()
    database.answers = {"a": "A"}
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    read_ = asyncio.create_task(read("a"))
    await database.let_go(0)

    assert await read_ == "A"
    assert database.commands == [["a"]]


async def test_reads_that_arrive_during_a_command_are_sent_together() -> None:
    database = Database()
    database.answers = {key: key.upper() for key in "abcd"}
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    first = asyncio.create_task(read("a"))
    await database.arrived(1)
    reads = [asyncio.create_task(read(key)) for key in ["b", "c", "x", "b"]]
    await database.let_all_go(2)

    assert await asyncio.gather(first, *reads) == ["A", "B", "C", None, "B"]
    assert database.commands == [["a"], ["b", "c", "x"]]


async def test_no_read_is_answered_by_a_command_sent_before_it() -> None:
    database = Database()
    database.answers = {"a": "old"}
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)
    first = asyncio.create_task(read("a"))
    await database.arrived(1)

    # The first command has been sent. Later reads must see later changes.
    later = asyncio.create_task(read("a"))
    await database.let_go(0)
    assert await first == "old"
    database.answers = {"a": "new"}
    await database.let_go(1)

    assert await later == "new"
    assert database.commands == [["a"], ["a"]]


async def test_a_faulty_read_does_not_fail_the_others_of_its_command() -> None:
    database = Database()
    database.answers = {"a": "A", "b": "B", "c": "C"}
    database.bad = {"b"}
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    reads = [asyncio.create_task(read(key)) for key in "dabc"]
    await database.let_all_go(5)
    _, a, b, c = await asyncio.gather(*reads, return_exceptions=True)

    assert (a, c) == ("A", "C")
    assert isinstance(b, ValueError)
    assert database.commands == [["d"], ["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_each_write_of_a_command_has_an_outcome_of_its_own() -> None:
    database = Database()
    database.answers = {"a": "", "c": ""}
    write = GroupCommit[Insert](database.write, max_wait_seconds=FOREVER)

    # Equal writes are separate ones.
    writing = [asyncio.create_task(write(insert(id_))) for id_ in "dabcbc"]
    await database.let_all_go(2)
    outcomes = await asyncio.gather(*writing, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [KeyError, type(None), KeyError, type(None), KeyError, type(None)]
    assert database.commands == [["d"], ["a", "b", "c", "b", "c"]]


async def test_a_failed_command_of_writes_is_not_repeated() -> None:
    database = Database()
    database.bad = {"b"}
    write = GroupCommit[Insert](database.write, max_wait_seconds=FOREVER)

    writing = [asyncio.create_task(write(insert(id_))) for id_ in "dabc"]
    await database.let_all_go(2)
    _, *outcomes = await asyncio.gather(*writing, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    assert database.commands == [["d"], ["a", "b", "c"]]


async def test_a_cancelled_read_does_not_fail_the_others() -> None:
    database = Database()
    database.answers = {"a": "A", "b": "B", "c": "C"}
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)
    first = asyncio.create_task(read("a"))
    await database.arrived(1)
    second, third = (asyncio.create_task(read(key)) for key in "bc")
    await asyncio.sleep(0)

    first.cancel()
    second.cancel()
    await database.let_all_go(2)

    assert await third == "C"
    # A read cancelled before the command was sent is not part of it.
    assert database.commands == [["a"], ["c"]]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_unavailable_database_fails_the_reads_of_its_command_only() -> None:
    database = Database()
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)
    reads = [asyncio.create_task(read(key)) for key in "abc"]
    database.gone = True

    await database.let_all_go(2)
    outcomes = await asyncio.gather(*reads, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert database.commands == [["a"], ["b", "c"]]
    database.gone = False
    database.answers = {"d": "D"}
    later = asyncio.create_task(read("d"))
    await database.let_go(2)
    assert await later == "D"


async def test_a_command_has_the_latest_deadline_of_its_reads() -> None:
    database = Database()
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    async def within(seconds: float | None, key: str) -> str | None:
        deadlines.begin(seconds)
        return await read(key)

    for number, patience in enumerate([(10.0,), (30.0, 5.0, 50.0), (30.0, 20.0, None)]):
        reads = [asyncio.create_task(within(seconds, f"{seconds}")) for seconds in patience]
        for command in ([0], [1, 2], [3, 4])[number]:
            await database.let_go(command)
        await asyncio.gather(*reads)

    now = asyncio.get_running_loop().time()
    lone, _, two, _, patient = database.deadlines
    assert lone is not None
    assert now + 5 < lone <= now + 10
    assert two is not None
    assert now + 40 < two <= now + 50
    assert patient is None


async def test_the_size_of_commands_is_limited() -> None:
    database = Database()
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    reads = [asyncio.create_task(read(f"{number}")) for number in range(100)]
    await database.let_all_go(5)
    await asyncio.gather(*reads)

    assert [len(command) for command in database.commands] == [1, 32, 32, 32, 3]


async def test_a_slow_command_does_not_hold_up_others() -> None:
    database = Database()
    database.answers = {key: key.upper() for key in "abcd"}
    read = Batcher[str, str](database.read, max_wait_seconds=0.0)

    slow = asyncio.create_task(read("a"))
    await database.arrived(1)
    second = asyncio.create_task(read("b"))
    await database.let_go(1)
    assert await second == "B"
    third = asyncio.create_task(read("c"))
    await database.let_go(2)
    assert await third == "C"
    assert not slow.done()
    await database.let_go(0)

    assert await slow == "A"
    assert database.commands == [["a"], ["b"], ["c"]]


async def test_the_number_of_concurrent_commands_is_limited() -> None:
    database = Database()
    read = Batcher[str, str](database.read, max_wait_seconds=0.0)
    reads = []
    for number in range(8):
        reads.append(asyncio.create_task(read(f"{number}")))
        await database.arrived(number + 1)

    reads += [asyncio.create_task(read(f"late {number}")) for number in range(20)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(database.commands) == 8
    await database.let_go(5)
    await database.arrived(9)

    assert database.commands[8] == [f"late {number}" for number in range(20)]
    await database.let_all_go(9)
    await asyncio.gather(*reads)


async def test_a_read_whose_deadline_passes_while_it_waits_is_not_sent() -> None:
    database = Database()
    read = Batcher[str, str](database.read, max_wait_seconds=FOREVER)

    async def within(seconds: float, key: str) -> str | None:
        deadlines.begin(seconds)
        return await read(key)

    first = asyncio.create_task(within(60, "a"))
    await database.arrived(1)
    late, patient = asyncio.create_task(within(0.001, "b")), asyncio.create_task(within(60, "c"))
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(0.01, passed.set_result, None)
    await passed
    await database.let_all_go(2)

    assert await first is None
    assert await patient is None
    with pytest.raises(DeadlineExceeded):
        await late
    assert database.commands == [["a"], ["c"]]


async def test_every_read_ends_when_a_repeated_command_is_cancelled() -> None:
    go = asyncio.Event()

    async def read(keys: Collection[str]) -> Mapping[str, str]:
        if list(keys) == ["first"]:
            await go.wait()
            return {}
        if len(keys) > 1:
            raise ValueError("one key is faulty")
        if "b" in keys:
            raise asyncio.CancelledError
        return {key: key.upper() for key in keys}

    batcher = Batcher[str, str](read, max_wait_seconds=FOREVER)
    first = asyncio.create_task(batcher("first"))
    await asyncio.sleep(0)
    reads = [asyncio.create_task(batcher(key)) for key in "abcd"]
    await asyncio.sleep(0)
    go.set()

    await first
    await asyncio.wait(reads)

    assert await reads[0] == "A"
    assert all(read_.cancelled() for read_ in reads[1:])


async def test_a_command_serves_the_spans_of_all_its_calls() -> None:
    database = Database()
    batcher = Batcher[str, str](database.read)

    async def call(key: str, span: str) -> None:
        trace_context.begin(span)
        await batcher(key)

    calls = [asyncio.create_task(call(key, f"span of {key}")) for key in "abc"]
    await database.let_go(0)
    await database.let_go(1)
    await asyncio.gather(*calls)

    assert database.spans == [("span of a",), ("span of b", "span of c")]
