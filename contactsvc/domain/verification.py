"""Verification of a value by a code that its owner gives back: challenges, their codes, and the rules of both."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactMethodType

CODE_DIGITS: Final = 6
MAX_TRIES: Final = 5
"""Wrong codes per challenge."""
MAX_SENDS: Final = 5
"""Sends per challenge, the first included."""
MAX_DAILY_SENDS_PER_VALUE: Final = 10
MAX_DAILY_SENDS_PER_CLIENT: Final = 20
METHOD_CODE: Final = "code"
METHOD_ATTESTED: Final = "attested"

MIN_SECRET_LENGTH: Final = 32
"""Characters of a secret in a file."""

_SEND_LIFETIME: Final = timedelta(minutes=10)
_CHALLENGE_LIFETIME: Final = timedelta(minutes=30)
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32


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
        return min(self.sent_at + _SEND_LIFETIME, self.started_at + _CHALLENGE_LIFETIME)

    @property
    def attempts_left(self) -> int:
        """The number of wrong codes that are still answered."""
        return MAX_TRIES - self.tries

    @property
    def sends_left(self) -> int:
        """The number of sends that are left."""
        return MAX_SENDS - self.sends

    def is_live(self, now: datetime) -> bool:
        """Return whether it can still be passed, or repeated after it was passed."""
        return now < self.expires_at and self.attempts_left > 0


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
        all: by id; retired ones stay until their challenges have ended.
    """

    current: VerificationSecret
    all: Mapping[str, VerificationSecret]

    @staticmethod
    def of(current: VerificationSecret, *retired: VerificationSecret) -> VerificationSecrets:
        """Return secrets, the first of which is current."""
        return VerificationSecrets(current, {secret.id: secret for secret in (current, *retired)})

    def code(self, challenge: Challenge, *, record_id: str, type_: ContactMethodType, normalized: str) -> str | None:
        """Return the code of a challenge; None when its secret is gone."""
        secret = self.all.get(challenge.secret_id)
        if secret is None:
            return None
        message = json.dumps(["code", challenge.id, record_id, type_.value, normalized]).encode()
        number = int.from_bytes(hmac.digest(secret.key, message, "sha256")) % 10**CODE_DIGITS
        return f"{number:0{CODE_DIGITS}}"

    def digest(self, purpose: str, *parts: str) -> str:
        """Return an id that shows its parts only to holders of the secret, for counters and remembered requests."""
        return hmac.digest(self.current.key, json.dumps([purpose, *parts]).encode(), "sha256").hex()[:32]


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
