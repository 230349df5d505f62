"""The fields of a contact method that a request names, for a new record or an existing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.equality import same_text
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue, UnreadableValue, Unset
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.validation import MAX_METADATA_PAIRS, Violations
from contactsvc.errors import FieldViolation, InvalidFields


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataChange:
    """Pairs to set and keys to remove; with `replace` all other pairs are removed, too."""

    set: Mapping[str, str]
    remove: frozenset[str] = frozenset()
    replace: bool = False

    def applied_to(self, present: Mapping[str, str]) -> Mapping[str, str]:
        """Return the pairs after the change."""
        kept = {} if self.replace else {key: value for key, value in present.items() if key not in self.remove}
        return {**kept, **self.set}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The fields that a request names, validated. UNSET keeps a field, or its default; None clears it.

    Attributes:
        type: required for a new record.
        value: required for a new record. As text where the request names no type: it is normalized once the record,
            and with it the type, is known. An unreadable one is accepted only for a record of the same text.
        label: a name for people.
        is_primary: whether it is to be the primary of its client and type.
        external_id: the caller's own identifier.
        metadata: how the pairs change.
    """

    type: ContactMethodType | Unset = UNSET
    value: ContactValue | UnreadableValue | str | Unset = UNSET
    label: str | Unset | None = UNSET
    is_primary: bool | Unset = UNSET
    external_id: str | Unset | None = UNSET
    metadata: MetadataChange | Unset = UNSET

    def check_value_upon(self, present: ContactMethod | None) -> None:
        """Refuse an unreadable value, unless this record has it already; None for no record.

        Raises:
            InvalidFields: naming `value`.
        """
        if isinstance(self.value, UnreadableValue) and not (
            present is not None and self.type is present.type and same_text(self.value.text, present.value.text)
        ):
            raise InvalidFields([FieldViolation("value", self.value.rule)])

    def create(self, *, id_: str, client_id: str, etag: str, now: datetime) -> ContactMethod:
        """Return the new record that the patch describes.

        Raises:
            InvalidFields: its value is unreadable.
        """
        self.check_value_upon(None)
        if isinstance(self.type, Unset) or not isinstance(self.value, ContactValue):
            raise TypeError("a new contact method needs a type and a normalized value")
        plain: dict[str, Any] = {
            name: None if isinstance(given := getattr(self, name), Unset) else given for name in _PLAIN_FIELDS
        }
        return ContactMethod(
            id=id_,
            client_id=client_id,
            type=self.type,
            value=self.value,
            is_primary=self.is_primary is True,
            verified_at=None,
            metadata={} if isinstance(self.metadata, Unset) else self.metadata.applied_to({}),
            created_at=now,
            updated_at=now,
            etag=etag,
            **plain,
        )

    def applied_to(self, present: ContactMethod, rules: ValueRules) -> dict[str, object]:
        """Return the fields that the patch sets on a record, except the primary flag, which depends on other records.

        Raises:
            InvalidFields: the value and the type do not fit together, or there would be too many metadata pairs.
        """
        violations = Violations()
        after: dict[str, object] = {
            name: given for name in _PLAIN_FIELDS if not isinstance(given := getattr(self, name), Unset)
        }
        type_ = present.type if isinstance(self.type, Unset) else self.type
        after["type"] = type_
        try:
            after["value"] = self._value(present, type_, rules)
        except InvalidValue as error:
            if isinstance(self.value, Unset):
                violations.add("type", f"the present value does not fit: {error}")
            else:
                violations.add("value", str(error))
        if not isinstance(self.metadata, Unset):
            after["metadata"] = pairs = self.metadata.applied_to(present.metadata)
            if len(pairs) > MAX_METADATA_PAIRS:
                violations.add("metadata", f"must have at most {MAX_METADATA_PAIRS} pairs after the update")
        violations.raise_if_any()
        return after

    def _value(self, present: ContactMethod, type_: ContactMethodType, rules: ValueRules) -> ContactValue:
        """Return the value after the patch.

        Naming the present text again renews its normal form, which may be outdated. If the text has become unreadable,
        the stored value stays.
        """
        value, stays = self.value, type_ is present.type
        match value:
            case Unset():
                return present.value if stays else rules.read(type_, present.value.text)
            case str():
                return present.value if stays and value == present.value.text else rules.read(type_, value)
            case UnreadableValue():
                if stays and same_text(value.text, present.value.text):
                    return present.value
                raise InvalidValue(value.rule)
            case ContactValue():
                if value.normalized is None and stays and value.text == present.value.text:
                    return present.value
                return value


# Fields that a patch sets without further rules; None in a new record unless the patch names them.
_PLAIN_FIELDS = tuple(
    field.name for field in fields(Patch) if field.name not in {"type", "value", "is_primary", "metadata"}
)
