"""The checker against histories written by hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.checker import check
from tests.robustness.history import Call, CallOutcome, Change, History, Kind, State

OK, FAILED, AMBIGUOUS = CallOutcome.OK, CallOutcome.FAILED, CallOutcome.AMBIGUOUS


class Calls:
    """Builds a history by hand; by default, every call is an operation of its own."""

    def __init__(self) -> None:
        self._numbers = count()
        self.history = History()

    def add(self, began: float, ended: float, outcome: CallOutcome = OK, operation: int = -1, **fields: Any) -> Call:
        number = next(self._numbers)
        call = Call(
            number,
            operation if operation >= 0 else 1000 + number,
            "caller",
            str(fields.pop("rpc", "Call")),
            began,
            ended,
            outcome,
            **fields,
        )
        self.history.calls.append(call)
        return call

    def create(self, began: float, ended: float, state: State, outcome: CallOutcome = OK, operation: int = -1) -> Call:
        """Add a create of a record whose label is the mark of the create."""
        return self.add(
            began,
            ended,
            outcome,
            operation,
            changes=[Change(Kind.CREATE, state.made or state.label, client_id=state.client_id)],
            seen=[state] if outcome is OK else [],
        )

    def update(
        self, began: float, ended: float, state: State, outcome: CallOutcome = OK, etag: str = "", vacates: bool = False
    ) -> Call:
        """Add an update that results in a state."""
        return self.add(
            began,
            ended,
            outcome,
            changes=[Change(Kind.UPDATE, state.label, id=state.id, etag=etag, vacates=vacates)],
            seen=[state] if outcome is OK else [],
        )

    def read(self, began: float, ended: float, *states: State, **fields: Any) -> Call:
        """Add a read."""
        return self.add(began, ended, seen=states, **fields)

    def end(self, *states: State, at: float = 1000.0) -> set[str]:
        """Add the final reading; return the names of the violated rules."""
        self.history.final, self.history.final_at = list(states), at
        return {violation.rule for violation in check(self.history)}


def record(id_: str = "a", etag: str = "e1", mark: str = "m1", **fields: Any) -> State:
    return State(id_, etag, "client", "email", label=mark, **fields)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_a_read_that_overlaps_a_write_may_show_either_state(calls: Calls) -> None:
    before, after = record(), record(etag="e2", mark="m2")
    calls.create(0, 1, before)
    calls.update(2, 5, after)
    calls.read(3, 4, before)
    calls.read(3, 4.5, after)

    assert calls.end(after) == set()


def test_a_stale_read_is_found(calls: Calls) -> None:
    before, after = record(), record(etag="e2", mark="m2")
    calls.create(0, 1, before)
    calls.update(2, 3, after)
    calls.read(4, 5, before)

    assert "stale read" in calls.end(after)


def test_two_reads_that_see_a_write_in_the_wrong_order_are_found(calls: Calls) -> None:
    before, after = record(), record(etag="e2", mark="m2")
    calls.create(0, 1, before)
    calls.update(2, 9, after)
    calls.read(3, 4, after)
    calls.read(5, 6, before)

    assert "stale read" in calls.end(after)


def test_two_updates_on_condition_of_one_etag_are_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.update(2, 6, record(etag="e2", mark="m2"), etag="e1")
    calls.update(3, 5, record(etag="e3", mark="m3"), etag="e1")

    assert calls.end(record(etag="e3", mark="m3")) == {"lost update"}


def test_an_update_that_undoes_another_field_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.update(2, 3, record(etag="e2", mark="m2"))
    calls.add(
        2.5,
        4,
        changes=[Change(Kind.UPDATE, "m3", id="a", label=False, note=True)],
        seen=[record(etag="e3", note="m3")],
    )

    assert calls.end(record(etag="e3", note="m3")) == {"lost update"}


def test_an_acknowledged_create_that_is_missing_at_the_end_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())

    assert calls.end() == {"acknowledged write missing"}


def test_an_acknowledged_update_that_is_undone_at_the_end_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.update(2, 3, record(etag="e2", mark="m2"))

    assert "stale read" in calls.end(record())


def test_a_record_that_is_missing_in_a_list_and_was_not_deleted_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.read(2, 3, complete="client")

    assert calls.end(record()) == {"acknowledged write missing"}


@pytest.mark.parametrize("outcome", [OK, AMBIGUOUS])
def test_a_record_may_be_missing_when_somebody_may_have_deleted_it(calls: Calls, outcome: CallOutcome) -> None:
    calls.create(0, 1, record())
    calls.add(2, 3, outcome, changes=[Change(Kind.DELETE, id="a")])
    calls.read(4, 5, absent=["a"])

    assert calls.end() == set()


def test_a_record_that_comes_back_after_its_delete_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.add(2, 3, changes=[Change(Kind.DELETE, id="a")])
    calls.read(4, 5, record())

    assert "deleted record seen" in calls.end()


def test_a_record_of_an_erased_client_that_is_still_there_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.add(2, 3, rpc="EraseClientContactMethods", changes=[Change(Kind.CLEAR, client_id="client")])

    assert calls.end(record()) == {"deleted record seen"}


def test_an_ambiguous_create_may_have_happened_or_not(calls: Calls) -> None:
    calls.create(0, 1, record(made="m1"), AMBIGUOUS)
    calls.create(0, 1, record("b", "e2", "m2", made="m2"), AMBIGUOUS)

    assert calls.end(record(made="m1")) == set()


def test_an_ambiguous_write_whose_effect_was_seen_stays(calls: Calls) -> None:
    calls.create(0, 1, record(), AMBIGUOUS)
    calls.read(2, 3, record())

    assert calls.end() == {"acknowledged write missing"}


def test_an_ambiguous_update_may_take_effect_long_after_its_caller_has_left(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.update(2, 3, record(etag="e2", mark="m2"), AMBIGUOUS)
    calls.read(4, 5, record())

    assert calls.end(record(etag="e2", mark="m2")) == set()


def test_the_effect_of_a_call_that_failed_is_found(calls: Calls) -> None:
    calls.create(0, 1, record(), FAILED)

    assert calls.end(record()) == {"phantom"}


def test_what_nobody_wrote_is_found(calls: Calls) -> None:
    assert calls.end(record()) == {"phantom"}


def test_one_etag_for_two_states_is_found(calls: Calls) -> None:
    calls.create(0, 1, record())
    calls.read(2, 3, record(is_primary=True))

    assert "two states of one etag" in calls.end(record())


def test_two_primaries_in_one_answer_are_found(calls: Calls) -> None:
    one, other = record(is_primary=True), record("b", "e2", "m2", is_primary=True)
    calls.create(0, 3, one)
    calls.create(1, 3, other)
    calls.read(2, 5, one, other)

    assert "two primaries" in calls.end(other, record(etag="e3"))


def test_two_primaries_in_answers_that_cover_each_other_are_found(calls: Calls) -> None:
    one, other = record(is_primary=True), record("b", "e2", "m2", is_primary=True)
    calls.create(0, 1, one)
    calls.create(2, 3, other)
    calls.read(4, 5, one)

    assert "two primaries" in calls.end(other)


def test_a_primary_that_vanishes_while_it_must_be_there_is_found(calls: Calls) -> None:
    primary = record(is_primary=True)
    calls.create(0, 1, primary)
    calls.add(2, 3, vacant=[("client", "email")])

    assert calls.end(primary) == {"vanished primary"}


def test_a_primary_that_vanishes_for_good_is_found(calls: Calls) -> None:
    calls.create(0, 1, record(is_primary=True))
    calls.update(2, 3, record(etag="e2", mark="m2"))

    assert calls.end(record(etag="e2", mark="m2")) == {"vanished primary"}


def test_a_primary_may_vanish_when_somebody_has_vacated_the_slot(calls: Calls) -> None:
    calls.create(0, 1, record(is_primary=True))
    calls.update(2, 3, record(etag="e2", mark="m2"), vacates=True)
    calls.add(4, 5, vacant=[("client", "email")])

    assert calls.end(record(etag="e2", mark="m2")) == set()


def test_a_shared_external_id_is_found(calls: Calls) -> None:
    one, other = record(external_id="x"), record("b", "e2", "m2", external_id="x")
    calls.create(0, 1, one)
    calls.create(2, 3, other)

    assert calls.end(one, other) == {"external id shared"}


def test_an_external_id_that_is_not_found_although_a_record_has_it_is_found(calls: Calls) -> None:
    calls.create(0, 1, record(external_id="x"))
    calls.add(2, 3, vacant_external_ids=["x"])

    assert calls.end(record(external_id="x")) == {"external id not found"}


def test_a_request_that_made_two_records_is_found(calls: Calls) -> None:
    calls.create(0, 1, record(made="m1"), operation=7)
    calls.create(2, 3, record("b", "e2", "m1", made="m1"), operation=7)

    assert calls.end(record(made="m1"), record("b", "e2", "m1", made="m1")) == {"request applied twice"}


def test_a_repeated_request_answers_with_the_record_as_it_now_is(calls: Calls) -> None:
    changed = record(etag="e2", mark="m2", made="m1")
    calls.create(0, 1, record(made="m1"), AMBIGUOUS, operation=7)
    calls.update(2, 3, changed)
    calls.create(4, 5, changed, operation=7)

    assert calls.end(changed) == set()


def test_half_a_batch_of_creates_is_found(calls: Calls) -> None:
    changes = [Change(Kind.CREATE, mark, client_id="client") for mark in ("m1", "m2")]
    calls.add(0, 1, AMBIGUOUS, changes=changes)

    assert calls.end(record(made="m1")) == {"half a batch"}


def test_half_a_batch_of_updates_is_found(calls: Calls) -> None:
    one, other = record(), record("b", "e2", "m2")
    calls.create(0, 1, one)
    calls.create(0, 1, other)
    calls.add(2, 3, AMBIGUOUS, changes=[Change(Kind.UPDATE, f"n{id_}", id=id_) for id_ in "ab"])

    assert calls.end(record(etag="e3", mark="na"), other) == {"half a batch"}


def test_half_a_batch_of_deletes_is_found(calls: Calls) -> None:
    one, other = record(), record("b", "e2", "m2")
    calls.create(0, 1, one)
    calls.create(0, 1, other)
    calls.add(2, 3, AMBIGUOUS, changes=[Change(Kind.DELETE, id=id_) for id_ in "ab"])

    assert calls.end(other) == {"half a batch"}


def test_of_a_partial_batch_an_item_may_be_missing(calls: Calls) -> None:
    changes = [Change(Kind.CREATE, mark, client_id="client") for mark in ("m1", "m2")]
    calls.add(0, 1, AMBIGUOUS, changes=changes, atomic=False)

    assert calls.end(record(made="m1")) == set()


def test_an_internal_fault_is_found(calls: Calls) -> None:
    calls.add(0, 1, AMBIGUOUS, reason="INTERNAL")

    assert calls.end() == {"internal fault"}


def test_a_history_is_the_same_after_it_was_kept(calls: Calls, tmp_path: Path) -> None:
    calls.create(0, 1, record(is_primary=True, external_id="x"))
    calls.update(2, 3, record(etag="e2", mark="m2"), AMBIGUOUS, etag="e1")
    calls.add(4, 5, FAILED, code="NOT_FOUND", absent=["b"], vacant=[("client", "fax")])
    calls.end(record())
    calls.history.save(tmp_path / "one")

    History.load(tmp_path / "one").save(tmp_path / "other")

    assert (tmp_path / "one").read_text() == (tmp_path / "other").read_text()
    assert check(History.load(tmp_path / "one")) == check(History.load(tmp_path / "other"))
    assert {one.rule for one in check(History.load(tmp_path / "one"))} == calls.end(record())
