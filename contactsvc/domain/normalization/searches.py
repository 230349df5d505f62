"""Parts of values that people search for, in the form in which normal forms contain them."""

from __future__ import annotations

import unicodedata

from contactsvc.domain.normalization.characters import BLANKS, DEFAULT_IGNORABLE

# The punctuation that people write between the digits of a number.
_PUNCTUATION = frozenset("-./()\u2010\u2011\u2012\u2013\u2014\u2212\uff0d") | BLANKS | DEFAULT_IGNORABLE


def searched_digits(text: str) -> str | None:
    """Return the digits of a part of a number, of any script, with its leading `+`; None when it is no such part."""
    digits: list[str] = []
    for character in text:
        if character in {"+", "\uff0b"} and not digits:
            digits.append("+")
        elif character.isdecimal():
            digits.append(str(unicodedata.decimal(character)))
        elif character not in _PUNCTUATION:
            return None
    return "".join(digits) if any(digit != "+" for digit in digits) else None


def searched_email_part(text: str) -> str | None:
    """Return the lower-case form of a part of an email address; None when no address contains it."""
    if any(character in BLANKS for character in text):
        return None
    return unicodedata.normalize("NFC", text.lower())
