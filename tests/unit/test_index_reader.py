"""The pace of long reads in the process of the embedded database."""

from __future__ import annotations

from contactsvc.runtime.index_reader import Pace


class FakeTime:
    """A clock that moves when somebody sleeps, or when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_slice_waits_for_as_long_as_the_one_before_took_while_the_database_receives_other_commands() -> None:
    time = FakeTime()
    pace = Pace(time.monotonic, time.sleep)
    # Others send commands during the first and the third slice.
    others = iter([1, 1, 2, 2])

    for seconds in (4.0, 2.0, 3.0, 1.0):
        with pace.turn(lambda: next(others)):
            time.now += seconds

    assert time.slept == [4.0, 3.0]


def test_the_time_until_the_next_slice_counts_as_a_pause() -> None:
    time = FakeTime()
    pace = Pace(time.monotonic, time.sleep)
    others = iter([1, 2, 3])

    for idle in (2.5, 9.0, 0.0):
        with pace.turn(lambda: next(others)):
            time.now += 4.0
        time.now += idle

    assert time.slept == [1.5]


def test_a_database_serves_others_also_in_the_slices_between_two_of_their_commands() -> None:
    time = FakeTime()
    pace = Pace(time.monotonic, time.sleep)
    others = iter([1, 1, 1, 2, 2])
    busy = []

    for idle in (0.0, 0.0, 1.0, 0.0, 0.0):
        with pace.turn(lambda: next(others)):
            time.now += 0.004
        busy.append(pace.is_busy)
        time.now += idle

    assert busy == [True, True, True, True, True]
    time.now += 1.0
    with pace.turn(lambda: 2):
        time.now += 0.004
    assert not pace.is_busy
    assert len(time.slept) == 3
