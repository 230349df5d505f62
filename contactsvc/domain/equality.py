"""When two values are the same: equal texts, or equal normal forms.

Normal forms age, with another default region or a newer numbering plan, and a text stays. So equal texts count as well
as equal normal forms. Values without a normal form are also compared as written, ignoring case and invisible ends.
"""

from __future__ import annotations

from collections.abc import Hashable

from contactsvc.domain.kinds import ContactMethodType, ContactValue, UnreadableValue
from contactsvc.domain.normalization import written_form


def identities(type_: ContactMethodType, value: ContactValue | UnreadableValue) -> set[Hashable]:
    """Return keys of a value of this type; two values are the same when they share a key.

    A readable value has the key of its written form, too, by which it equals an unreadable one of the same text.
    """
    normalized = value.normalized if isinstance(value, ContactValue) else None
    keys: set[Hashable] = {(type_, "text", value.text)}
    if normalized is None:
        keys.add((type_, "unreadable", written_form(value.text)))
    else:
        keys.add((type_, "normal", normalized))
    return keys


def searched_identities(type_: ContactMethodType, value: ContactValue | UnreadableValue) -> set[Hashable]:
    """Return the keys under which stored values are looked for that are the same as this one."""
    return {*identities(type_, value), (type_, "unreadable", written_form(value.text))}


def same_text(one: str, other: str) -> bool:
    """Return whether two texts are the same as written."""
    return one == other or written_form(one) == written_form(other)
