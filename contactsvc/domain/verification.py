"""Verification of a value by a code that its owner gives back: challenges, their codes, and the rules of both."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactMethodType

CODE_DIGITS: Final = 6
MAX_TRIES: Final = 5
"""Wrong codes per challenge."""
MAX_SENDS: Final = 5
"""Sends per challenge, the first included."""
SEND_LIFETIME: Final = timedelta(minutes=10)
"""The time from the last send to the end of a challenge."""
CHALLENGE_LIFETIME: Final = timedelta(minutes=30)
"""The maximum time from the first send to the end of a challenge."""
MAX_DAILY_SENDS_PER_VALUE: Final = 10
MAX_DAILY_SENDS_PER_CLIENT: Final = 20
METHOD_CODE: Final = "code"
METHOD_ATTESTED: Final = "attested"

MIN_SECRET_LENGTH: Final = 32
"""Characters of a secret in a file."""
SECRET_READ_INTERVAL: Final = timedelta(seconds=15)
"""The interval at which every service reads the secrets."""
SECRET_TIME_BEFORE_USE: Final = timedelta(minutes=1)
"""The time from a rotation to the use of the new secret, in which every service reads it."""
SECRET_RETENTION: Final = timedelta(hours=25)
"""How long a secret is kept after its last use.

Its challenges end within 30 minutes; the requests that carried their codes are remembered for 24 hours, by keyed
digests.
"""

_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32


class VerificationEvent(StrEnum):
    """The result of a start or a check, for metrics; a repeated request has none."""

    STARTED = "started"
    """A new challenge."""
    RESENT = "resent"
    """The code of a running challenge once more."""
    VERIFIED = "verified"
    """The right code."""
    WRONG_CODE = "wrong_code"
    """A wrong code."""
    EXHAUSTED = "exhausted"
    """A check after the last try."""
    EXPIRED = "expired"
    """A check after the challenge has expired."""
    NOT_STARTED = "not_started"
    """A check without a challenge: never started, or voided by another value."""
    LIMIT_SENDS = "limit_sends"
    """A start beyond the sends of its challenge."""
    LIMIT_VALUE_DAY = "limit_value_day"
    """A start beyond the daily sends to its value."""
    LIMIT_CLIENT_DAY = "limit_client_day"
    """A start beyond the daily sends of its client."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge for the value that a record has. It holds no code: that is derived from it and a secret.

    A change of the record's type or normalized value voids it.

    Attributes:
        id: random; a new challenge has a new code.
        secret_id: the secret that its code is derived by.
        started_at: the time of the first send.
        sent_at: the time of the last send.
        sends: sends so far.
        tries: wrong codes so far.
        is_passed: whether the right code was given.
        etag: random, new with each change of the challenge. Sends and wrong codes leave the record's etag as it is, so
            writes of the record are guarded by both.
    """

    id: str
    secret_id: str
    started_at: datetime
    sent_at: datetime
    etag: str
    sends: int = 1
    tries: int = 0
    is_passed: bool = False

    @property
    def expires_at(self) -> datetime:
        """10 minutes after the last send, but at most 30 after the first."""
        return min(self.sent_at + SEND_LIFETIME, self.started_at + CHALLENGE_LIFETIME)

    @property
    def attempts_left(self) -> int:
        """The number of wrong codes that are still answered."""
        return MAX_TRIES - self.tries

    @property
    def sends_left(self) -> int:
        """The number of sends that are left."""
        return MAX_SENDS - self.sends

    def is_expired(self, now: datetime) -> bool:
        """Return whether its time is over."""
        return now >= self.expires_at

    def is_live(self, now: datetime) -> bool:
        """Return whether it can still be passed, or repeated after it was passed."""
        return not self.is_expired(now) and self.attempts_left > 0


@dataclass(frozen=True, slots=True)
class VerificationSecret:
    """A secret that codes are derived by.

    Attributes:
        id: public.
        key: the secret itself.
    """

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerificationSecrets:
    """The secrets of an environment.

    Attributes:
        current: derives the codes of new challenges.
        all: by id, the current one first; retired ones, as long as they are kept, and those that are to come.
    """

    current: VerificationSecret
    all: Mapping[str, VerificationSecret]

    @staticmethod
    def of(current: VerificationSecret, *others: VerificationSecret) -> VerificationSecrets:
        """Return secrets, the first of which is current."""
        return VerificationSecrets(current, {secret.id: secret for secret in (current, *others)})

    def code(self, challenge: Challenge, *, record_id: str, type_: ContactMethodType, normalized: str) -> str | None:
        """Return the code of a challenge; None when its secret is gone."""
        secret = self.all.get(challenge.secret_id)
        if secret is None:
            return None
        message = json.dumps(["code", challenge.id, record_id, type_.value, normalized]).encode()
        number = int.from_bytes(hmac.digest(secret.key, message, "sha256")) % 10**CODE_DIGITS
        return f"{number:0{CODE_DIGITS}}"

    def digests(self, purpose: str, *parts: str) -> tuple[str, ...]:
        """Return ids that show their parts only to holders of the secrets: by the current one, then by each other."""
        message = json.dumps([purpose, *parts]).encode()
        return tuple(hmac.digest(secret.key, message, "sha256").hex()[:32] for secret in self.all.values())


def secrets_of_text(text: str, environment: str) -> VerificationSecrets:
    """Return the secrets of an environment from those of a file: a line each, the current one first, then retired ones.

    Raises:
        ValueError: there is no line, or one that is too short to be a secret.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or min(map(len, lines)) < MIN_SECRET_LENGTH:
        raise ValueError(f"must have a line of at least {MIN_SECRET_LENGTH} characters for each secret")
    keys = [hmac.digest(line.encode(), f"contactsvc {environment}".encode(), "sha256") for line in lines]
    return VerificationSecrets.of(
        *(VerificationSecret("file-" + hmac.digest(key, b"id", "sha256").hex()[:16], key) for key in keys)
    )


def new_secret() -> VerificationSecret:
    """Return a random secret."""
    return VerificationSecret(secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SECRET_BYTES))


def new_challenge(secret_id: str, now: datetime) -> Challenge:
    """Return a challenge whose code is sent for the first time."""
    return Challenge(secrets.token_hex(_ID_BYTES), secret_id, now, now, new_etag())


def same_code(one: str, other: str) -> bool:
    """Return whether two codes are equal, by a comparison in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
