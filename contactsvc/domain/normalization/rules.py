"""How a server reads contact values."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import assert_never

from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization.characters import trim
from contactsvc.domain.normalization.emails import normalize_email
from contactsvc.domain.normalization.invalid_value import InvalidValue
from contactsvc.domain.normalization.numbers import normalize_number


@dataclass(frozen=True, slots=True)
class ValueRules:
    """How this server reads values.

    Attributes:
        default_region: two-letter region in which numbers without `+` are read (ISO 3166-1); None accepts only `+`.
        lenient: store what cannot be parsed without a normal form instead of refusing it, for imports of old data.
    """

    default_region: str | None = None
    lenient: bool = False

    def read(self, type_: ContactMethodType, text: str) -> ContactValue:
        """Return the value with its normal form.

        Args:
            type_: what the value claims to be.
            text: trimmed, 1-512 characters, without control characters.

        Raises:
            InvalidValue: the value does not fit its type, and the rules are strict.
        """
        try:
            return ContactValue(text, self.normalize(type_, text))
        except InvalidValue:
            if self.lenient:
                return ContactValue(text, None)
            raise

    def normalize(self, type_: ContactMethodType, text: str) -> str:
        """Return the form in which values of this type are compared.

        Blank and invisible characters at the ends are ignored: values stored by older versions may have them.

        Raises:
            InvalidValue: the value does not fit its type.
        """
        match type_:
            case ContactMethodType.EMAIL:
                return normalize_email(text)
            case ContactMethodType.PHONE | ContactMethodType.FAX:
                return normalize_number(text, self.default_region)
            case ContactMethodType.OTHER:
                return unicodedata.normalize("NFC", trim(text))
            case _:
                assert_never(type_)
