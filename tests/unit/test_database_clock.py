from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contactsvc.domain.clock import now_utc
from contactsvc.store.database_clock import DatabaseClock

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Machine:
    """The clocks of a machine: one that may be wrong, and one that is never set."""

    def __init__(self) -> None:
        self.time = NOON
        self.seconds = 0.0
        self.clock = DatabaseClock(lambda: self.time, lambda: self.seconds)


def test_the_time_of_the_database_counts_however_wrong_the_machine_is() -> None:
    machine = Machine()
    machine.time = NOON + timedelta(hours=25)

    machine.clock.read({"localTime": NOON})
    machine.seconds += 90.0015
    machine.time += timedelta(days=400)

    assert machine.clock() == NOON + timedelta(seconds=90, milliseconds=1)


def test_a_late_reply_does_not_set_the_clock_back() -> None:
    machine = Machine()
    machine.clock.read({"localTime": NOON})
    machine.seconds += 10

    machine.clock.read({"localTime": NOON + timedelta(seconds=9)})

    assert machine.clock() == NOON + timedelta(seconds=10)


def test_a_database_whose_clock_is_set_is_followed() -> None:
    machine = Machine()
    machine.clock.read({"localTime": NOON})

    machine.clock.read({"localTime": NOON - timedelta(hours=1)})
    back = machine.clock()
    machine.clock.read({"localTime": NOON + timedelta(hours=2)})

    assert (back, machine.clock()) == (NOON - timedelta(hours=1), NOON + timedelta(hours=2))


def test_drivers_reply_without_a_time_zone() -> None:
    machine = Machine()

    machine.clock.read({"localTime": NOON.replace(tzinfo=None)})

    assert machine.clock() == NOON


def test_before_the_first_reply_the_machine_counts() -> None:
    machine = Machine()
    machine.clock.read({})

    assert machine.clock() == NOON
    assert abs(DatabaseClock()() - now_utc()) < timedelta(hours=1)


def test_clocks_that_differ_by_more_than_a_minute_are_reported() -> None:
    machine = Machine()
    machine.clock.read({"localTime": NOON - timedelta(seconds=59)})
    near = machine.clock.warning
    machine.clock.read({"localTime": NOON - timedelta(hours=25)})
    ahead = machine.clock.warning
    machine.clock.read({"localTime": NOON + timedelta(hours=1)})
    behind = machine.clock.warning

    assert near is None
    assert ahead is not None
    assert "90000 s ahead of that of the database" in ahead
    assert behind is not None
    assert "3600 s behind that of the database" in behind
