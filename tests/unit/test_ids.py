from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contactsvc.domain.ids import ContactMethodIds


def test_ids_grow_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    times = iter([noon] * 500 + [noon - timedelta(hours=1)] * 500 + [noon + timedelta(milliseconds=1)])
    make_id = ContactMethodIds(lambda: next(times))

    made = [make_id() for _ in range(1001)]

    assert made == sorted(set(made))
    assert {len(id_) for id_ in made} == {len("contact_") + 26}
