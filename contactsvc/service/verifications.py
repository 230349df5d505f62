"""The verification of contact methods: challenges, checks, and the caps on sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import RequestFingerprint
from contactsvc.domain.operations import CheckVerification, SetVerification, StartVerification
from contactsvc.domain.results import Challenged, Checked, Result, Written, expected
from contactsvc.domain.verification import (
    MAX_DAILY_SENDS_PER_CLIENT,
    MAX_DAILY_SENDS_PER_VALUE,
    Challenge,
    VerificationSecrets,
)
from contactsvc.domain.verifying import code_of
from contactsvc.errors import ContactsvcError, DeadlineExceeded, StoreUnavailable, VerificationLimit
from contactsvc.service.ports import Store
from contactsvc.service.writes import WritePlan, Writes

_COUNT_LIFETIME = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class StartedVerification:
    """The answer to the start of a verification.

    Attributes:
        record: the contact method.
        challenge: its challenge; None when the request is repeated after the challenge is over.
        code: the code to send; None without a challenge.
    """

    record: ContactMethod
    challenge: Challenge | None
    code: str | None = field(repr=False)


class Verifications:
    """The verification of the contact methods of one environment.

    Args:
        store: their store.
        writes: carries out writes.
        clock: the time of challenges.
        secrets: returns the secrets of the environment as they are now.
    """

    def __init__(self, store: Store, writes: Writes, clock: Clock, secrets: Callable[[], VerificationSecrets]) -> None:
        self._store = store
        self._writes = writes
        self._clock = clock
        self._secrets = secrets

    async def start(self, start: StartVerification, request: RequestFingerprint | None) -> StartedVerification:
        """Start a challenge, or send its code again."""
        send = _CountedSend(self._store, self._clock(), self._secrets())
        try:
            (result,) = await self._writes.carry_out(WritePlan.of_one(start, before_write=send.count), request)
            challenged = expected(Challenged, result)
        except (StoreUnavailable, DeadlineExceeded):
            # It may be stored.
            raise
        except ContactsvcError:
            await send.take_back()
            raise
        record, challenge = challenged.record, challenged.record.challenge
        if record is not send.record:
            # The request is repeated; it was counted the first time.
            await send.take_back()
        code = code_of(record, self._secrets())
        is_over = challenge is None or challenge.id != challenged.challenge_id or not challenge.is_live(self._clock())
        if is_over or code is None:
            return StartedVerification(record, None, None)
        return StartedVerification(record, challenge, code)

    async def check(self, check: CheckVerification, request: RequestFingerprint | None) -> Checked:
        """Check a code."""
        # One at a time: codes are compared before the write that counts the try.
        async with self._store.exclusively({("check", check.id)}):
            (result,) = await self._writes.carry_out(WritePlan.of_one(check), request)
        return expected(Checked, result)

    async def set(self, wanted: SetVerification, request: RequestFingerprint | None) -> Written:
        """Set or clear a verification on the caller's word."""
        (result,) = await self._writes.carry_out(WritePlan.of_one(wanted), request)
        return expected(Written, result)

    async def forget_client(self, client_id: str) -> None:
        """Remove the counts of a client's sends."""
        now, secrets = self._clock(), self._secrets()
        await self._store.remove_counts(
            [_client_key(secrets, client_id, now - timedelta(days=days)) for days in (0, 1)]
        )


class _CountedSend:
    """Counts a send once against the caps of its day, however often its write is attempted.

    Attributes:
        record: the record as the last attempt was to store it; None before the first.
    """

    def __init__(self, store: Store, now: datetime, secrets: VerificationSecrets) -> None:
        self._store = store
        self._now = now
        self._secrets = secrets
        self._counted: list[str] = []
        self.record: ContactMethod | None = None

    async def count(self, results: Sequence[Result]) -> None:
        """Count the send; raise VerificationLimit when there are none left today."""
        (result,) = results
        if not isinstance(result, Challenged):
            return
        self.record = record = result.record
        value_key = self._secrets.digest("value", record.type.value, record.value.normalized or "", _day(self._now))
        # The value last: a client that has no sends left must not use up those of values.
        for limit, key, cap in (
            ("client_day", _client_key(self._secrets, record.client_id, self._now), MAX_DAILY_SENDS_PER_CLIENT),
            ("value_day", value_key, MAX_DAILY_SENDS_PER_VALUE),
        ):
            if key in self._counted:
                continue
            if not await self._store.count_within(key, cap, expires_at=self._now + _COUNT_LIFETIME):
                midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
                raise VerificationLimit(limit, (midnight - self._now).total_seconds())
            self._counted.append(key)

    async def take_back(self) -> None:
        """Uncount a send that was not made."""
        while self._counted:
            await self._store.uncount(self._counted.pop())


def _client_key(secrets: VerificationSecrets, client_id: str, now: datetime) -> str:
    return secrets.digest("client", client_id, _day(now))


def _day(now: datetime) -> str:
    return now.date().isoformat()
