"""What starts, checks and sets of a verification make of a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.equality import same_text
from contactsvc.domain.ids import new_etag
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.operations import CheckVerification, SetVerification
from contactsvc.domain.verification import (
    METHOD_ATTESTED,
    METHOD_CODE,
    VerificationSecrets,
    new_challenge,
    same_code,
)
from contactsvc.errors import (
    ValueChanged,
    ValueUnverifiable,
    VerificationExhausted,
    VerificationLimit,
    VerificationNotStarted,
)


def started(present: ContactMethod, secrets: VerificationSecrets, *, now: datetime) -> ContactMethod:
    """Return the record with a new challenge, or with one more send of the living one.

    Raises:
        ValueUnverifiable: the value has no normal form.
        VerificationLimit: the living challenge has no sends left.
    """
    if present.value.normalized is None:
        raise ValueUnverifiable
    challenge = present.challenge
    if challenge is None or not challenge.is_live(now) or code_of(present, secrets) is None:
        return replace(present, challenge=new_challenge(secrets.current.id, now))
    if not challenge.sends_left:
        raise VerificationLimit("sends", (challenge.expires_at - now).total_seconds())
    resent = replace(challenge, sent_at=now, sends=challenge.sends + 1, etag=new_etag())
    return replace(present, challenge=resent)


def checked(
    present: ContactMethod, check: CheckVerification, secrets: VerificationSecrets, *, now: datetime, etag: str
) -> tuple[ContactMethod, bool]:
    """Return the record after a check, and whether the code was right.

    Raises:
        VerificationNotStarted: no challenge is running.
        VerificationExhausted: its tries are spent; nothing is compared.
    """
    challenge = present.challenge
    if challenge is None:
        raise VerificationNotStarted
    if challenge.is_expired(now):
        raise VerificationNotStarted(is_expired=True)
    if not challenge.attempts_left:
        raise VerificationExhausted
    expected = code_of(present, secrets)
    if expected is None:
        # Its secret was retired, and with it the challenge.
        raise VerificationNotStarted
    if challenge.id not in check.compared:
        check.compared[challenge.id] = same_code(check.code, expected)
    if not check.compared[challenge.id]:
        counted = replace(challenge, tries=challenge.tries + 1, etag=new_etag())
        return replace(present, challenge=counted), False
    if challenge.is_passed:
        return present, True
    passed = replace(present, challenge=replace(challenge, is_passed=True, etag=new_etag()))
    return _verified(passed, now, METHOD_CODE, now=now, etag=etag), True


def verification_set(
    present: ContactMethod, wanted: SetVerification, rules: ValueRules, *, now: datetime, etag: str
) -> ContactMethod:
    """Return the record with its verification set or cleared, and without a challenge; itself when nothing differs.

    Raises:
        ValueChanged: the caller means another value.
    """
    if wanted.value is not None and not _has_value(present, wanted.value, rules):
        raise ValueChanged
    if not wanted.verified:
        cleared = replace(present, challenge=None)
        return cleared if present.verified_at is None else _verified(cleared, None, None, now=now, etag=etag)
    at, method = wanted.verified_at or present.verified_at or now, wanted.method or present.verification_method
    method = method or METHOD_ATTESTED
    if (at, method) == (present.verified_at, present.verification_method):
        return present
    return _verified(replace(present, challenge=None), at, method, now=now, etag=etag)


def code_of(record: ContactMethod, secrets: VerificationSecrets) -> str | None:
    """Return the code of the record's challenge; None when there is none, or its secret is gone."""
    if record.challenge is None or record.value.normalized is None:
        return None
    return secrets.code(record.challenge, record_id=record.id, type_=record.type, normalized=record.value.normalized)


def _verified(
    record: ContactMethod, at: datetime | None, method: str | None, *, now: datetime, etag: str
) -> ContactMethod:
    updated_at = max(now, record.updated_at)
    return replace(record, verified_at=at, verification_method=method, updated_at=updated_at, etag=etag)


def _has_value(record: ContactMethod, text: str, rules: ValueRules) -> bool:
    if record.value.normalized is None:
        return same_text(text, record.value.text)
    if text == record.value.text:
        return True
    try:
        return rules.normalize(record.type, text) == record.value.normalized
    except InvalidValue:
        return False
