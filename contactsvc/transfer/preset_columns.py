"""The columns of the exports of other address books: which hold contact values, of which type, under which label.

Google writes its column names in English in every language; of Outlook and HubSpot the English names are known.
docs/imports.md has these tables for users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from contactsvc.domain.kinds import ContactMethodType

_EMAIL, _PHONE, _FAX, _OTHER = (
    ContactMethodType.EMAIL,
    ContactMethodType.PHONE,
    ContactMethodType.FAX,
    ContactMethodType.OTHER,
)


class Preset(StrEnum):
    """An address book whose CSV exports can be imported; its value is what `--preset` takes."""

    GOOGLE = "google"
    OUTLOOK = "outlook"
    HUBSPOT = "hubspot"

    @property
    def product(self) -> str:
        """The name of the address book."""
        return _TITLES[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueColumn:
    """A column with contact values.

    Attributes:
        name: the name of the column.
        type: of the values.
        label: of the values; empty when the column has another column for it, or none.
        separator: separates several values in one cell; empty when a cell holds one value.
        may_be_primary: whether a value may become the primary of its type.
        index: the position in the row, from 0.
        label_index: the position of the column with the label, if there is one.
    """

    name: str
    type: ContactMethodType
    label: str = ""
    separator: str = ""
    may_be_primary: bool = True
    index: int = 0
    label_index: int | None = None


_TITLES: Final[Mapping[Preset, str]] = {
    Preset.GOOGLE: "Google Contacts",
    Preset.OUTLOOK: "Outlook",
    Preset.HUBSPOT: "HubSpot",
}

GOOGLE_SEPARATOR: Final = ":::"
_GOOGLE_VALUE = re.compile(r"(e-mail|phone|im) (\d{1,3}) - value")
_GOOGLE_KINDS: Final = {"e-mail": ("E-mail", _EMAIL), "phone": ("Phone", _PHONE), "im": ("IM", _OTHER)}
# Older exports have Type, newer ones Label; the service of an instant messenger is more specific than either.
_GOOGLE_LABELS: Final = {"e-mail": ("label", "type"), "phone": ("label", "type"), "im": ("service", "label", "type")}

# In the order in which they compete for the primary flag: exports list columns alphabetically.
_OUTLOOK: Final = (
    ValueColumn(name="E-mail Address", type=_EMAIL),
    ValueColumn(name="E-mail 2 Address", type=_EMAIL),
    ValueColumn(name="E-mail 3 Address", type=_EMAIL),
    # Most often the number of another column, which has the label.
    ValueColumn(name="Primary Phone", type=_PHONE),
    ValueColumn(name="Mobile Phone", type=_PHONE, label="Mobile"),
    ValueColumn(name="Business Phone", type=_PHONE, label="Business"),
    ValueColumn(name="Business Phone 2", type=_PHONE, label="Business 2"),
    ValueColumn(name="Home Phone", type=_PHONE, label="Home"),
    ValueColumn(name="Home Phone 2", type=_PHONE, label="Home 2"),
    ValueColumn(name="Other Phone", type=_PHONE, label="Other"),
    ValueColumn(name="Car Phone", type=_PHONE, label="Car"),
    ValueColumn(name="Radio Phone", type=_PHONE, label="Radio"),
    ValueColumn(name="Company Main Phone", type=_PHONE, label="Company main"),
    # These do not reach the client in person.
    ValueColumn(name="Assistant's Phone", type=_PHONE, label="Assistant", may_be_primary=False),
    ValueColumn(name="Callback", type=_PHONE, label="Callback", may_be_primary=False),
    ValueColumn(name="ISDN", type=_PHONE, label="ISDN", may_be_primary=False),
    ValueColumn(name="Pager", type=_PHONE, label="Pager", may_be_primary=False),
    ValueColumn(name="TTY/TDD Phone", type=_PHONE, label="TTY/TDD", may_be_primary=False),
    ValueColumn(name="Business Fax", type=_FAX, label="Business"),
    ValueColumn(name="Home Fax", type=_FAX, label="Home"),
    ValueColumn(name="Other Fax", type=_FAX, label="Other"),
    # Telex numbers follow no plan of telephone numbers.
    ValueColumn(name="Telex", type=_OTHER, label="Telex", may_be_primary=False),
    ValueColumn(name="IMAddress", type=_OTHER, label="IM", may_be_primary=False),
)
_HUBSPOT: Final = (
    ValueColumn(name="Email", type=_EMAIL),
    ValueColumn(name="Work email", type=_EMAIL, label="Work"),
    ValueColumn(name="Additional email addresses", type=_EMAIL, separator=";"),
    ValueColumn(name="Phone Number", type=_PHONE),
    ValueColumn(name="Mobile Phone Number", type=_PHONE, label="Mobile"),
    ValueColumn(name="WhatsApp Phone Number", type=_PHONE, label="WhatsApp"),
    ValueColumn(name="Fax Number", type=_FAX),
)
_TABLES: Final = {Preset.OUTLOOK: _OUTLOOK, Preset.HUBSPOT: _HUBSPOT}
_EXAMPLES: Final[Mapping[Preset, str]] = {
    Preset.GOOGLE: "E-mail 1 - Value, Phone 1 - Value",
    Preset.OUTLOOK: "E-mail Address, Mobile Phone, Business Phone",
    Preset.HUBSPOT: "Record ID, Email, Phone Number",
}
_SIGNS: Final = {
    Preset.OUTLOOK: {"e-mail address", "e-mail 2 address", "e-mail display name", "business phone", "business fax"},
    Preset.HUBSPOT: {"record id"},
}
CLIENT_ID_COLUMNS: Final[Mapping[Preset, str]] = {Preset.HUBSPOT: "Record ID"}
"""The column with the id of the client, where an export has one."""


def value_columns(preset: Preset, names: Sequence[str]) -> list[ValueColumn]:
    """Return the columns with contact values, in the order in which they compete for the primary flag."""
    indexes = _indexes(names)
    if preset is Preset.GOOGLE:
        return _google_columns(indexes)
    return [
        replace(column, index=indexes[column.name.casefold()])
        for column in _TABLES[preset]
        if column.name.casefold() in indexes
    ]


def expected_names(preset: Preset) -> str:
    """Return names of columns that an export has, for messages."""
    return _EXAMPLES[preset]


def recognized(names: Sequence[str]) -> Preset | None:
    """Return the address book whose exports have such columns."""
    indexes = _indexes(names)
    if _google_columns(indexes):
        return Preset.GOOGLE
    return next(
        (preset for preset, signs in _SIGNS.items() if signs & indexes.keys() and value_columns(preset, names)), None
    )


def folded(name: str) -> str:
    """Return the form in which names of columns are compared."""
    return " ".join(name.split()).casefold()


def _indexes(names: Sequence[str]) -> dict[str, int]:
    return {folded(name): index for index, name in enumerate(names)}


def _google_columns(indexes: Mapping[str, int]) -> list[ValueColumn]:
    found = []
    for name, index in indexes.items():
        if (match := _GOOGLE_VALUE.fullmatch(name)) is None:
            continue
        kind, number = match[1], int(match[2])
        title, type_ = _GOOGLE_KINDS[kind]
        labels = (indexes.get(f"{kind} {match[2]} - {label}") for label in _GOOGLE_LABELS[kind])
        column = ValueColumn(
            name=f"{title} {number} - Value",
            type=type_,
            separator=GOOGLE_SEPARATOR,
            may_be_primary=type_ is not _OTHER,
            index=index,
            label_index=next((label for label in labels if label is not None), None),
        )
        found.append((number, column))
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]
