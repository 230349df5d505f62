"""Version of the rules by which normal forms are derived."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Self

import phonenumbers

_RULES_REVISION: Final = 1
"""To be raised by a release whose own code derives another normal form from some value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesVersion:
    """Everything that a normal form depends on, besides type and text of the value.

    Lenient rules derive the same normal forms as strict ones, so leniency is no part of it.

    Attributes:
        default_region: the region in which numbers without `+` are read; None for none.
        phonenumbers: version of the library with the numbering plans.
        idna: version of the library with the tables for domains of emails.
        revision: of the rules in this package.
    """

    default_region: str | None
    phonenumbers: str
    idna: str
    revision: int

    @classmethod
    def current(cls, default_region: str | None) -> Self:
        """Return the version of this process, with a default region."""
        return cls(
            default_region=default_region,
            phonenumbers=phonenumbers.__version__,
            idna=version("idna"),
            revision=_RULES_REVISION,
        )

    def __str__(self) -> str:
        region = self.default_region or "none"
        return f"default region {region}, phonenumbers {self.phonenumbers}, idna {self.idna}, rules {self.revision}"
