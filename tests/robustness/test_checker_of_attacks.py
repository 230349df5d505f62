"""The rules about attackers and lone callers, against histories written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.checker import check
from tests.robustness.checker.attacks import waits
from tests.robustness.history import Call, CallOutcome, Fault, History

MIB = 1024 * 1024


def get(began: float, ended: float, code: str = "OK", reason: str = "", caller: str = "lone caller of one") -> Call:
    outcome = CallOutcome.OK if code == "OK" else CallOutcome.FAILED
    return Call(-1, -1, caller, "GetContactMethod", began, ended, outcome, code, reason)


def fault(began: float, recovered: float, kind: str = "kill -9 of the database") -> Fault:
    return Fault(kind, began, (began + recovered) / 2, recovered)


def found(history: History) -> list[str]:
    return [violation.rule for violation in check(history)]


def test_a_worker_has_no_more_memory_than_it_is_allowed() -> None:
    history = History(memory={"one, process 1": 512 * MIB, "two, process 2": 513 * MIB})

    assert [str(violation) for violation in check(history)] == ["too much memory: service two, process 2: 513 MiB"]


def test_attackers_and_lone_callers_get_no_internal_fault() -> None:
    calls = [get(1, 2, "INTERNAL", "INTERNAL"), get(2, 3, "UNAVAILABLE", "STORE_UNAVAILABLE"), get(3, 4)]

    for history in (History(attacks=calls), History(gets=calls)):
        assert found(history) == ["internal fault"]
        history.faults = [Fault("full disk", 0.5, 1.5)]
        assert found(history) == []


def test_the_record_of_a_lone_caller_stays() -> None:
    assert found(History(gets=[get(1, 2), get(2, 3, "NOT_FOUND")])) == ["acknowledged write missing"]


def test_a_lone_caller_does_not_wait_longer_than_the_limit() -> None:
    history = History(gets=[get(0, 1), get(1, 11), get(11, 22)])

    assert found(history) == []
    history.max_wait_seconds = 10.0
    assert found(history) == ["others not served"]


def test_failures_in_a_row_are_one_wait() -> None:
    history = History(gets=[get(0, 1), get(1, 6, "UNAVAILABLE"), get(6, 11, "DEADLINE_EXCEEDED"), get(11, 12)])

    assert [wait.seconds for wait in waits(history)] == [1, 11]


def test_the_last_call_ends_the_last_wait() -> None:
    assert [wait.seconds for wait in waits(History(gets=[get(0, 1), get(1, 6, "UNAVAILABLE")]))] == [1, 5]


def test_each_lone_caller_waits_alone() -> None:
    other = "lone caller of two"
    gets = [get(0, 1), get(0, 5, "UNAVAILABLE", caller=other), get(1, 2), get(5, 7, caller=other)]

    assert [wait.seconds for wait in waits(History(gets=gets))] == [1, 1, 7]


@pytest.mark.parametrize(
    ("faults", "seconds"),
    [
        ([fault(2, 8)], [12]),
        ([fault(2, 12), fault(11, 14)], [6]),
        ([fault(11, 21)], []),
        ([fault(2, 0.0)], []),
        ([fault(20.5, 22)], [20]),
        ([fault(-5, -1)], [20]),
    ],
    ids=["ends before", "two", "lasts longer", "never over", "begins later", "earlier"],
)
def test_a_wait_is_counted_from_the_end_of_a_fault(faults: list[Fault], seconds: list[float]) -> None:
    assert [wait.seconds for wait in waits(History(gets=[get(0, 20)], faults=faults))] == seconds


def test_attacks_gets_and_limits_are_saved(tmp_path: Path) -> None:
    history = History(
        attacks=[get(1, 2, "INTERNAL", "INTERNAL")],
        gets=[get(1, 30)],
        memory={"one, process 1": 600 * MIB},
        max_wait_seconds=10.0,
        faults=[fault(0, 3)],
    )
    history.save(tmp_path / "history.jsonl")

    loaded = History.load(tmp_path / "history.jsonl")

    assert (loaded.memory, loaded.max_wait_seconds, loaded.faults) == (
        history.memory,
        history.max_wait_seconds,
        history.faults,
    )
    assert found(loaded) == ["too much memory", "internal fault", "others not served"]
