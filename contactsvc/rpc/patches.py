"""The fields of a contact method in the messages that create or change one: protobuf -> Patch."""

from __future__ import annotations

from collections.abc import Mapping

from contactsvc.domain import validation
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue, UnreadableValue, Unset
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.patch import MetadataChange, Patch
from contactsvc.domain.validation import Violations
from contactsvc.rpc.enums import TYPES
from contactsvc.v1 import contact_methods_pb2 as pb

_AnyRequest = (
    pb.CreateContactMethodRequest | pb.UpdateContactMethodRequest | pb.UpsertContactMethodRequest | pb.SyncItem
)


class PatchParser:
    """Reads patches under this server's rules for values."""

    def __init__(self, rules: ValueRules) -> None:
        self._rules = rules

    def of_create(self, violations: Violations, request: pb.CreateContactMethodRequest) -> Patch:
        """Read the fields of a new record."""
        external_id: str | Unset = UNSET
        if request.HasField("external_id"):
            external_id = validation.external_id(violations, "external_id", request.external_id)
        pairs = validation.metadata(violations, "metadata", request.metadata)
        return self._with_value(
            violations,
            request,
            is_new=True,
            is_primary=request.is_primary,
            external_id=external_id,
            metadata=MetadataChange(set=pairs) if pairs else UNSET,
        )

    def of_upsert(self, violations: Violations, request: pb.UpsertContactMethodRequest) -> Patch:
        """Read the fields of a record that is new or exists, except its external id."""
        return self._with_value(
            violations,
            request,
            is_primary=request.is_primary if request.HasField("is_primary") else UNSET,
            external_id=UNSET,
            metadata=_merged(violations, request.metadata) if request.metadata else UNSET,
        )

    def of_sync_item(self, violations: Violations, item: pb.SyncItem) -> Patch:
        """Read the fields of an item of a sync."""
        return self._with_value(
            violations,
            item,
            is_primary=item.is_primary if item.HasField("is_primary") else UNSET,
            external_id=_external_id(violations, item),
            metadata=_merged(violations, item.metadata) if item.metadata else UNSET,
        )

    def of_update(self, violations: Violations, request: pb.UpdateContactMethodRequest) -> Patch:
        """Read the fields to change; the value stays a text, since the type may be that of the record."""
        found = parse_type(violations, "type", request.type) if request.HasField("type") else None
        return _patch(
            violations,
            request,
            type_=found or UNSET,
            value=validation.value(violations, "value", request.value) if request.HasField("value") else UNSET,
            is_primary=request.is_primary if request.HasField("is_primary") else UNSET,
            external_id=_external_id(violations, request),
            metadata=_metadata_change(violations, request),
        )

    def _with_value(
        self,
        violations: Violations,
        raw: pb.CreateContactMethodRequest | pb.UpsertContactMethodRequest | pb.SyncItem,
        *,
        is_new: bool = False,
        is_primary: bool | Unset,
        external_id: str | Unset | None,
        metadata: MetadataChange | Unset,
    ) -> Patch:
        type_ = parse_type(violations, "type", raw.type)
        return _patch(
            violations,
            raw,
            type_=type_ or ContactMethodType.OTHER,
            value=self._value(violations, "value", type_, raw.value, refuse=is_new),
            is_primary=is_primary,
            external_id=external_id,
            metadata=metadata,
        )

    def _value(
        self, violations: Violations, path: str, type_: ContactMethodType | None, raw: str, *, refuse: bool
    ) -> ContactValue | UnreadableValue:
        """Read a value; with `refuse` an unreadable one is a violation, even if a stored record has it."""
        text = validation.value(violations, path, raw)
        if type_ is None or not text or violations.has(path):
            # The violation has been added. Without a type or a text there is nothing to normalize.
            return ContactValue(text, None)
        try:
            return self._rules.read(type_, text)
        except InvalidValue as error:
            (violations.add if refuse else violations.add_doubtful)(path, str(error))
            return UnreadableValue(text, str(error))


def parse_type(violations: Violations, path: str, number: int) -> ContactMethodType | None:
    """Read a type; None, and a violation, for a number outside of the enum (proto3 enums are open)."""
    type_ = TYPES.get(number)
    if type_ is None:
        violations.add(path, "must be CONTACT_METHOD_TYPE_EMAIL, _PHONE, _FAX or _OTHER")
    return type_


def _patch(
    violations: Violations,
    raw: _AnyRequest,
    *,
    type_: ContactMethodType | Unset,
    value: ContactValue | UnreadableValue | str | Unset,
    is_primary: bool | Unset,
    external_id: str | Unset | None,
    metadata: MetadataChange | Unset,
) -> Patch:
    """Return a patch; reads the fields that every message has in the same form."""
    return Patch(
        type=type_,
        value=value,
        label=validation.label(violations, "label", raw.label) if raw.HasField("label") else UNSET,
        is_primary=is_primary,
        external_id=external_id,
        metadata=metadata,
    )


def _external_id(violations: Violations, raw: pb.UpdateContactMethodRequest | pb.SyncItem) -> str | Unset | None:
    """Read an external id: absent leaves it unchanged, empty clears it."""
    if not raw.HasField("external_id"):
        return UNSET
    return validation.external_id(violations, "external_id", raw.external_id) if raw.external_id else None


def _metadata_change(violations: Violations, request: pb.UpdateContactMethodRequest) -> MetadataChange | Unset:
    if not (request.metadata or request.remove_metadata_keys or request.replace_metadata):
        return UNSET
    if request.replace_metadata and request.remove_metadata_keys:
        violations.add("remove_metadata_keys", "cannot be combined with replace_metadata")
    names = request.remove_metadata_keys
    validation.count(violations, "remove_metadata_keys", names, at_most=validation.MAX_METADATA_PAIRS)
    removed = {
        validation.metadata_key(violations, f"remove_metadata_keys[{position}]", name)
        for position, name in enumerate(names[: validation.MAX_METADATA_PAIRS])
    }
    if removed & request.metadata.keys():
        violations.add("remove_metadata_keys", "must not name a key that metadata sets")
    merged = _merged(violations, request.metadata)
    return MetadataChange(set=merged.set, remove=merged.remove | removed, replace=request.replace_metadata)


def _merged(violations: Violations, raw: Mapping[str, str]) -> MetadataChange:
    """Read pairs to be merged; an empty value removes its key."""
    emptied = {validation.metadata_key(violations, "metadata", key) for key, value in raw.items() if not value}
    pairs = validation.metadata(violations, "metadata", {key: value for key, value in raw.items() if value})
    return MetadataChange(set=pairs, remove=frozenset(emptied))
