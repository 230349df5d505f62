"""The metric of verifications: each start and check counts once, by its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from contactsvc.domain.verification import VerificationEvent
from contactsvc.telemetry.metrics import Metrics
from tests.conftest import OpenStores, failure_of, serving
from tests.verifier import NUMBER, PHONE, Clock, Verifier, other_than


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """Return the results that have been counted, and how often."""
    counts = {
        event.value: registry.get_sample_value("contactsvc_verifications_total", {"result": event}) or 0
        for event in VerificationEvent
    }
    return {result: count for result, count in counts.items() if count}


@pytest.fixture
def increase() -> Callable[[Metrics], Counter[str]]:
    """Return a function that returns what has been counted since its last call."""
    before: Counter[str] = Counter()

    def since(metrics: Metrics) -> Counter[str]:
        now = Counter({result: int(count) for result, count in counted(metrics.registry).items()})
        difference = now - before
        before.update(difference)
        return difference

    return since


async def test_every_start_and_check_counts_by_its_result(
    on_embedded: OpenStores, increase: Callable[[Metrics], Counter[str]]
) -> None:
    metrics, clock = Metrics(), Clock()
    async with serving(await on_embedded(), metrics=metrics, clock=clock) as api:
        calls = Verifier(api, clock)
        record = await api.create()
        await failure_of(calls.check(record, "123456"))
        assert increase(metrics) == {"not_started": 1}
        code = (await calls.start(record, request_id="start")).code
        await calls.start(record, request_id="start")
        assert increase(metrics) == {"started": 1}
        for _ in range(4):
            await calls.start(record)
        await failure_of(calls.start(record))
        assert increase(metrics) == {"resent": 4, "limit_sends": 1}
        await calls.check(record, other_than(code), request_id="wrong")
        await calls.check(record, other_than(code), request_id="wrong")
        await calls.check(record, code, request_id="right")
        await calls.check(record, code, request_id="right")
        assert increase(metrics) == {"wrong_code": 1, "verified": 1}
        for _ in range(4):
            await calls.check(record, other_than(code))
        await failure_of(calls.check(record, code))
        assert increase(metrics) == {"wrong_code": 4, "exhausted": 1}
        clock.forward(minutes=10)
        await failure_of(calls.check(record, code))
        assert increase(metrics) == {"expired": 1}
        await calls.set(record, True)
        await calls.set(record, False)
        await failure_of(calls.check(record, "12345"))
        assert increase(metrics) == {}


async def test_refused_starts_count_by_the_limit_of_the_day(
    on_embedded: OpenStores, increase: Callable[[Metrics], Counter[str]]
) -> None:
    metrics, clock = Metrics(), Clock()
    async with serving(await on_embedded(), metrics=metrics, clock=clock) as api:
        calls = Verifier(api, clock)
        same = [await api.create(value=NUMBER, type=PHONE, client_id=f"client_{i}") for i in range(11)]
        many = [await api.create(client_id="busy") for _ in range(21)]
        for record in (*same[:10], *many[:20]):
            await calls.start(record)
        assert increase(metrics) == {"started": 30}
        await failure_of(calls.start(same[10]))
        await failure_of(calls.start(many[20]))
        assert increase(metrics) == {"limit_value_day": 1, "limit_client_day": 1}
