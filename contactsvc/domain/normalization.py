"""The normal form of contact values: the one function behind storing, looking up and filtering.

Sources of the rules: RFC 5321 and 6531 as email-validator reads them, and Google's libphonenumber as
phonenumbers carries it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

import email_validator
import phonenumbers

from contactsvc.domain.kinds import ContactMethodType, ContactValue

_MEXICO = 52

# A local part that every rule lets pass (RFC 5322: dot-atom): ASCII letters, digits and signs, single dots between, at
# most 64 of them.
_DOT_ATOM = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_LOCAL_PART = 64


class InvalidValue(ValueError):
    """The value is none of its type; the message is the rule, without the value."""


@dataclass(frozen=True, slots=True)
class ValueRules:
    """How this server reads values.

    Attributes:
        default_region: two-letter region in which numbers without `+` are read (ISO 3166-1); None accepts only `+`.
        lenient: keep what cannot be parsed, without a normal form, instead of refusing it: for imports of old data.
    """

    default_region: str | None = None
    lenient: bool = False

    def read(self, type_: ContactMethodType, text: str) -> ContactValue:
        """Return the value with its normal form.

        Args:
            type_: what the value claims to be.
            text: trimmed, 1-512 characters, without control characters.

        Raises:
            InvalidValue: the value is none of its type, and the rules are strict.
        """
        try:
            return ContactValue(text, self.normalize(type_, text))
        except InvalidValue:
            if self.lenient:
                return ContactValue(text, None)
            raise

    def normalize(self, type_: ContactMethodType, text: str) -> str:
        """Return the form of a trimmed value that is compared; raise InvalidValue when it is none of its type."""
        match type_:
            case ContactMethodType.EMAIL:
                return _normalize_email(text)
            case ContactMethodType.PHONE | ContactMethodType.FAX:
                return _normalize_number(text, self.default_region)
            case ContactMethodType.OTHER:
                return unicodedata.normalize("NFC", text)
            case _:
                assert_never(type_)


def _normalize_email(text: str) -> str:
    local, _, domain = text.rpartition("@")
    # Most addresses are so plain that their domain is all that there is to be checked, and domains recur.
    if _DOT_ATOM.fullmatch(local) and (checked := _domain_of_all(domain)) is not None:
        return f"{local.lower()}@{checked}"
    return _checked_email(text)


@lru_cache(maxsize=10_000)
def _domain_of_all(domain: str) -> str | None:
    """Return the normal form of a domain that is good, and short enough, after every plain local part."""
    try:
        return _checked_email(f"{'a' * _LONGEST_LOCAL_PART}@{domain}").partition("@")[2]
    except InvalidValue:
        return None


def _checked_email(text: str) -> str:
    try:
        # test_environment accepts `.test`, and with it a bare `test`; hence the check for the dot below.
        # strict adds the limit of 64 octets on the local part (RFC 5321, 4.5.3.1.1).
        address = email_validator.validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except email_validator.EmailNotValidError as error:
        # Its message may quote parts of the address.
        raise InvalidValue("must be an email address, such as name@example.com") from error
    if "." not in address.ascii_domain:
        raise InvalidValue("must be an email address whose domain has a dot, such as name@example.com")
    # Lower-casing can leave letters and accents apart that belong together.
    return unicodedata.normalize("NFC", f"{address.local_part.lower()}@{address.ascii_domain.lower()}")


def _normalize_number(text: str, default_region: str | None) -> str:
    if ";phone-context=" in text:
        # A local number within a context (RFC 3966) is none that everyone can call. And 80 characters of it are enough
        # to keep the pattern that phonenumbers reads it with busy for years.
        raise InvalidValue("must be a phone number, such as +52 55 1234 5678")
    try:
        number = phonenumbers.parse(text, default_region)
    except phonenumbers.NumberParseException as error:
        if default_region is None and error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            raise InvalidValue(
                "must be a number with + and country code, such as +52 55 1234 5678; "
                "this server has no default region for national numbers"
            ) from error
        raise InvalidValue("must be a phone number, such as +52 55 1234 5678") from error
    national = str(number.national_number)
    if number.country_code == _MEXICO and len(national) == 11 and national.startswith("1"):
        # Until August 2019 Mexican mobiles were called from abroad with a 1 after the 52; the subscriber is the same.
        number.national_number = int(national[1:])
    if not phonenumbers.is_possible_number(number):
        raise InvalidValue("must be a possible phone number: its length fits no number of its country")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # Full-width and other digits are the same extension.
    return f"{e164};ext={phonenumbers.normalize_digits_only(number.extension)}" if number.extension else e164
