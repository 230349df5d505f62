from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.store.coalescing.batcher import Batcher


class Database:
    """Answers as told, each command when it is let go."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, str] = {}
        self.deadlines: list[float | None] = []
        self._arrived = asyncio.Condition()
        self._gates: list[asyncio.Event] = []
        self.bad: set[str] = set()
        self.gone = False

    async def ask(self, keys: Collection[str]) -> Mapping[str, str]:
        gate = asyncio.Event()
        async with self._arrived:
            self.commands.append(list(keys))
            self.deadlines.append(deadlines.when())
            self._gates.append(gate)
            self._arrived.notify_all()
        await gate.wait()
        if self.gone:
            raise StoreUnavailable
        if self.bad & set(keys):
            raise ValueError("a bad key")
        return {key: self.answers[key] for key in keys if key in self.answers}

    async def let_go(self, number: int) -> None:
        """Wait until the command of this number is there, and let it end."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self._gates) > number)
        self._gates[number].set()

    async def asked(self, number: int) -> None:
        """Wait until so many commands have been sent."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.commands) >= number)

    async def let_all_go(self, count: int) -> None:
        """Let so many commands end, one after the other."""
        for number in range(count):
            await self.let_go(number)


FOR_EVER = 1e9


async def test_a_lone_question_leaves_at_once_and_alone() -> None:
    database = Database()
    database.answers = {"a": "A"}
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    question = asyncio.create_task(ask("a"))
    await database.let_go(0)

    assert await question == "A"
    assert database.commands == [["a"]]


async def test_questions_that_arrive_meanwhile_leave_together() -> None:
    database = Database()
    database.answers = {key: key.upper() for key in "abcd"}
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    first = asyncio.create_task(ask("a"))
    await database.asked(1)
    questions = [asyncio.create_task(ask(key)) for key in ["b", "c", "x", "b"]]
    await database.let_all_go(2)

    assert await asyncio.gather(first, *questions) == ["A", "B", "C", None, "B"]
    assert database.commands == [["a"], ["b", "c", "x"]]


async def test_no_answer_is_older_than_its_question() -> None:
    database = Database()
    database.answers = {"a": "old"}
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)
    first = asyncio.create_task(ask("a"))
    await database.asked(1)

    # The first command has been sent; what changes from here on, a later question must see.
    later = asyncio.create_task(ask("a"))
    await database.let_go(0)
    assert await first == "old"
    database.answers = {"a": "new"}
    await database.let_go(1)

    assert await later == "new"
    assert database.commands == [["a"], ["a"]]


async def test_one_bad_question_harms_no_other() -> None:
    database = Database()
    database.answers = {"a": "A", "b": "B", "c": "C"}
    database.bad = {"b"}
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    questions = [asyncio.create_task(ask(key)) for key in "dabc"]
    await database.let_all_go(5)
    _, a, b, c = await asyncio.gather(*questions, return_exceptions=True)

    assert (a, c) == ("A", "C")
    assert isinstance(b, ValueError)
    assert database.commands == [["d"], ["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_what_must_not_be_repeated_is_not() -> None:
    database = Database()
    database.bad = {"b"}
    ask = Batcher[str, str](database.ask, repeatable=False, patience=FOR_EVER)

    questions = [asyncio.create_task(ask(key)) for key in "dabc"]
    await database.let_all_go(2)
    _, *outcomes = await asyncio.gather(*questions, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    assert database.commands == [["d"], ["a", "b", "c"]]


async def test_a_caller_that_leaves_harms_no_other() -> None:
    database = Database()
    database.answers = {"a": "A", "b": "B", "c": "C"}
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)
    first = asyncio.create_task(ask("a"))
    await database.asked(1)
    second, third = (asyncio.create_task(ask(key)) for key in "bc")
    await asyncio.sleep(0)

    first.cancel()
    second.cancel()
    await database.let_all_go(2)

    assert await third == "C"
    # Who left before the command was sent is not asked for.
    assert database.commands == [["a"], ["c"]]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_database_that_is_gone_is_told_to_those_who_asked_it() -> None:
    database = Database()
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)
    questions = [asyncio.create_task(ask(key)) for key in "abc"]
    database.gone = True

    await database.let_all_go(2)
    outcomes = await asyncio.gather(*questions, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert database.commands == [["a"], ["b", "c"]]
    database.gone = False
    database.answers = {"d": "D"}
    later = asyncio.create_task(ask("d"))
    await database.let_go(2)
    assert await later == "D"


async def test_a_command_may_take_as_long_as_its_most_patient_caller_waits() -> None:
    database = Database()
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    async def within(seconds: float | None, key: str) -> str | None:
        deadlines.begin(seconds)
        return await ask(key)

    for number, patience in enumerate([(10.0,), (30.0, 5.0, 50.0), (30.0, 20.0, None)]):
        questions = [asyncio.create_task(within(seconds, f"{seconds}")) for seconds in patience]
        for command in ([0], [1, 2], [3, 4])[number]:
            await database.let_go(command)
        await asyncio.gather(*questions)

    now = asyncio.get_running_loop().time()
    lone, _, two, _, patient = database.deadlines
    assert lone is not None
    assert now + 5 < lone <= now + 10
    assert two is not None
    assert now + 40 < two <= now + 50
    assert patient is None


async def test_no_command_is_larger_than_it_should_be() -> None:
    database = Database()
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    questions = [asyncio.create_task(ask(f"{number}")) for number in range(100)]
    await database.let_all_go(5)
    await asyncio.gather(*questions)

    assert [len(command) for command in database.commands] == [1, 32, 32, 32, 3]


async def test_a_slow_command_does_not_hold_up_the_others() -> None:
    database = Database()
    database.answers = {key: key.upper() for key in "abcd"}
    ask = Batcher[str, str](database.ask, patience=0.0)

    slow = asyncio.create_task(ask("a"))
    await database.asked(1)
    second = asyncio.create_task(ask("b"))
    await database.let_go(1)
    assert await second == "B"
    third = asyncio.create_task(ask("c"))
    await database.let_go(2)
    assert await third == "C"
    assert not slow.done()
    await database.let_go(0)

    assert await slow == "A"
    assert database.commands == [["a"], ["b"], ["c"]]


async def test_a_database_that_hangs_is_not_sent_ever_more_commands() -> None:
    database = Database()
    ask = Batcher[str, str](database.ask, patience=0.0)
    questions = []
    for number in range(8):
        questions.append(asyncio.create_task(ask(f"{number}")))
        await database.asked(number + 1)

    questions += [asyncio.create_task(ask(f"late {number}")) for number in range(20)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(database.commands) == 8
    await database.let_go(5)
    await database.asked(9)

    assert database.commands[8] == [f"late {number}" for number in range(20)]
    await database.let_all_go(9)
    await asyncio.gather(*questions)


async def test_what_has_waited_beyond_its_deadline_is_not_sent() -> None:
    database = Database()
    ask = Batcher[str, str](database.ask, patience=FOR_EVER)

    async def within(seconds: float, key: str) -> str | None:
        deadlines.begin(seconds)
        return await ask(key)

    first = asyncio.create_task(within(60, "a"))
    await database.asked(1)
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


async def test_nobody_is_left_waiting_when_a_repeated_question_is_cancelled_below() -> None:
    go = asyncio.Event()

    async def ask(keys: Collection[str]) -> Mapping[str, str]:
        if list(keys) == ["first"]:
            await go.wait()
            return {}
        if len(keys) > 1:
            raise ValueError("one of them is to blame")
        if "b" in keys:
            raise asyncio.CancelledError
        return {key: key.upper() for key in keys}

    batcher = Batcher[str, str](ask, patience=FOR_EVER)
    first = asyncio.create_task(batcher("first"))
    await asyncio.sleep(0)
    questions = [asyncio.create_task(batcher(key)) for key in "abcd"]
    await asyncio.sleep(0)
    go.set()

    await first
    await asyncio.wait(questions)

    assert await questions[0] == "A"
    assert all(question.cancelled() for question in questions[1:])
