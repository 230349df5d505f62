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
    VerificationEvent,
    VerificationSecrets,
)
from contactsvc.domain.verifying import code_of
from contactsvc.errors import (
    ContactsvcError,
    DeadlineExceeded,
    StoreUnavailable,
    VerificationExhausted,
    VerificationLimit,
    VerificationNotStarted,
)
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
        on_event: receives the result of each start and check.
    """

    def __init__(
        self,
        store: Store,
        writes: Writes,
        clock: Clock,
        secrets: Callable[[], VerificationSecrets],
        on_event: Callable[[VerificationEvent], None],
    ) -> None:
        self._on_event = on_event
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
        except ContactsvcError as refusal:
            await send.take_back()
            if isinstance(refusal, VerificationLimit):
                self._on_event(VerificationEvent(f"limit_{refusal.limit}"))
            raise
        record, challenge = challenged.record, challenged.record.challenge
        if challenged.repeated:
            # It was counted the first time.
            await send.take_back()
        elif challenge is not None:
            self._on_event(VerificationEvent.STARTED if challenge.sends == 1 else VerificationEvent.RESENT)
        code = code_of(record, self._secrets())
        is_over = challenge is None or challenge.id != challenged.challenge_id or not challenge.is_live(self._clock())
        if is_over or code is None:
            return StartedVerification(record, None, None)
        return StartedVerification(record, challenge, code)

    async def check(self, check: CheckVerification, request: RequestFingerprint | None) -> Checked:
        """Check a code."""
        # One at a time: codes are compared before the write that counts the try.
        async with self._store.exclusively({("check", check.id)}):
            try:
                (result,) = await self._writes.carry_out(WritePlan.of_one(check), request)
            except VerificationExhausted:
                self._on_event(VerificationEvent.EXHAUSTED)
                raise
            except VerificationNotStarted as refusal:
                self._on_event(VerificationEvent.EXPIRED if refusal.is_expired else VerificationEvent.NOT_STARTED)
                raise
        checked = expected(Checked, result)
        if not checked.repeated:
            self._on_event(VerificationEvent.VERIFIED if checked.verified else VerificationEvent.WRONG_CODE)
        return checked

    async def set(self, wanted: SetVerification, request: RequestFingerprint | None) -> Written:
        """Set or clear a verification on the caller's word."""
        (result,) = await self._writes.carry_out(WritePlan.of_one(wanted), request)
        return expected(Written, result)

    async def forget_client(self, client_id: str) -> None:
        """Remove the counts of a client's sends."""
        now, secrets = self._clock(), self._secrets()
        await self._store.remove_counts(
            [key for days in (0, 1) for key in _client_keys(secrets, client_id, now - timedelta(days=days))]
        )


class _CountedSend:
    """Counts a send once against the caps of its day, however often its write is attempted."""

    def __init__(self, store: Store, now: datetime, secrets: VerificationSecrets) -> None:
        self._store = store
        self._now = now
        self._secrets = secrets
        self._counted: list[str] = []

    async def count(self, results: Sequence[Result]) -> None:
        """Count the send; raise VerificationLimit when there are none left today."""
        (result,) = results
        if not isinstance(result, Challenged):
            return
        record, day = result.record, _day(self._now)
        value_keys = self._secrets.digests("value", record.type.value, record.value.normalized or "", day)
        # The value last: a client that has no sends left must not use up those of values.
        for limit, keys, cap in (
            ("client_day", _client_keys(self._secrets, record.client_id, self._now), MAX_DAILY_SENDS_PER_CLIENT),
            ("value_day", value_keys, MAX_DAILY_SENDS_PER_VALUE),
        ):
            if keys[0] in self._counted:
                continue
            if not await self._store.count_within(keys, cap, expires_at=self._now + _COUNT_LIFETIME):
                midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
                raise VerificationLimit(limit, (midnight - self._now).total_seconds())
            self._counted.append(keys[0])

    async def take_back(self) -> None:
        """Uncount a send that was not made."""
        while self._counted:
            await self._store.uncount(self._counted.pop())


def _client_keys(secrets: VerificationSecrets, client_id: str, now: datetime) -> tuple[str, ...]:
    return secrets.digests("client", client_id, _day(now))


def _day(now: datetime) -> str:
    return now.date().isoformat()
