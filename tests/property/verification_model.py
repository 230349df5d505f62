"""A model of verification: what is verified, the running challenge and its counts, and the sends of a day.

An independent, plain statement of the contract; nothing comes from the service.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

Slot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge, as its caller knows it."""

    code: str
    started_at: datetime
    sent_at: datetime
    sends: int = 1
    tries: int = 0
    passed: bool = False

    @property
    def expires_at(self) -> datetime:
        return min(self.sent_at + timedelta(minutes=10), self.started_at + timedelta(minutes=30))

    def lives(self, now: datetime) -> bool:
        return now < self.expires_at and self.tries < 5


@dataclass(frozen=True, slots=True)
class Record:
    """A record, as far as it matters to verification."""

    client_id: str
    type: int
    value: str
    normalized: str
    is_primary: bool = False
    verified_at: datetime | None = None
    method: str = ""
    challenge: Challenge | None = None

    @property
    def slot(self) -> Slot:
        return self.client_id, self.type


@dataclass
class World:
    """Records by id, oldest first, and the sends of each day by value and by client."""

    now: datetime
    records: dict[str, Record] = field(default_factory=dict)
    sends: Counter[tuple[date, Any]] = field(default_factory=Counter)

    def put(self, id_: str, record: Record) -> None:
        """Write a record; a new primary takes the flag from the present one."""
        if record.is_primary:
            for other, rival in self.records.items():
                if other != id_ and rival.is_primary and rival.slot == record.slot:
                    self.records[other] = replace(rival, is_primary=False)
        self.records[id_] = record

    def change(self, id_: str, *, value: str, normalized: str, is_primary: bool | None = None) -> None:
        """Update, upsert or sync a record: a new normalized value takes verification and challenge away."""
        before = self.records[id_]
        after = replace(before, value=value, normalized=normalized)
        if normalized != before.normalized:
            after = replace(after, verified_at=None, method="", challenge=None)
        if is_primary is not None:
            after = replace(after, is_primary=is_primary)
        self.put(id_, after)

    def living(self, id_: str) -> Challenge | None:
        """Return the challenge of a record, if it lives."""
        challenge = self.records[id_].challenge
        return challenge if challenge is not None and challenge.lives(self.now) else None

    def limit_of_start(self, id_: str) -> str:
        """Return the limit that a start meets; empty if there is none."""
        record, challenge = self.records[id_], self.living(id_)
        if challenge is not None and challenge.sends == 5:
            return "sends"
        if self.sends[self.now.date(), record.client_id] == 20:
            return "client_day"
        return "value_day" if self.sends[self.now.date(), (record.type, record.normalized)] == 10 else ""

    def start(self, id_: str, code: str) -> Challenge:
        """Start a challenge with the code of the answer, or count one more send of the living one."""
        record, living = self.records[id_], self.living(id_)
        self.sends[self.now.date(), record.client_id] += 1
        self.sends[self.now.date(), (record.type, record.normalized)] += 1
        challenge = Challenge(code, self.now, self.now)
        if living is not None:
            challenge = replace(living, sent_at=self.now, sends=living.sends + 1)
        self.records[id_] = replace(record, challenge=challenge)
        return challenge

    def refusal_of_check(self, id_: str) -> str:
        """Return the reason why no code is compared; empty if one is."""
        challenge = self.records[id_].challenge
        if challenge is None or self.now >= challenge.expires_at:
            return "VERIFICATION_NOT_STARTED"
        return "VERIFICATION_EXHAUSTED" if challenge.tries == 5 else ""

    def check(self, id_: str, code: str) -> tuple[bool, int]:
        """Check a code; return whether it is right, and the tries that are left."""
        record = self.records[id_]
        challenge = record.challenge
        assert challenge is not None
        if code != challenge.code:
            challenge = replace(challenge, tries=challenge.tries + 1)
            self.records[id_] = replace(record, challenge=challenge)
            return False, 5 - challenge.tries
        if not challenge.passed:
            passed = replace(challenge, passed=True)
            self.records[id_] = replace(record, challenge=passed, verified_at=self.now, method="code")
        return True, 5 - challenge.tries

    def set(self, id_: str, *, verified: bool, at: datetime | None, method: str) -> None:
        """Set or clear a verification."""
        record = self.records[id_]
        if not verified:
            self.records[id_] = replace(record, verified_at=None, method="", challenge=None)
            return
        wanted = at or record.verified_at or self.now, method or record.method or "attested"
        if wanted != (record.verified_at, record.method):
            self.records[id_] = replace(record, verified_at=wanted[0], method=wanted[1], challenge=None)

    def delete(self, id_: str) -> str | None:
        """Delete a record; return the one that becomes primary in its place: verified first, then the oldest."""
        gone = self.records.pop(id_)
        if not gone.is_primary:
            return None
        heirs = [other for other, record in self.records.items() if record.slot == gone.slot]
        heirs.sort(key=lambda other: self.records[other].verified_at is None)
        if not heirs:
            return None
        self.records[heirs[0]] = replace(self.records[heirs[0]], is_primary=True)
        return heirs[0]

    def erase(self, client_id: str) -> None:
        """Delete the records of a client, and its sends of today."""
        self.records = {id_: record for id_, record in self.records.items() if record.client_id != client_id}
        del self.sends[self.now.date(), client_id]
