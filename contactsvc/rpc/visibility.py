"""What answers show to callers without the permission `read`: ids of records that the call made or named, nothing else.

The default is to hide: a field that the table does not name is removed, and so are all fields of a message that is not
in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.errors import ContactsvcError
from contactsvc.rpc.auth import Caller

M = TypeVar("M", bound=Message)

SHOWN_WITHOUT_READ: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "CreateContactMethodResponse": frozenset({"contact_method"}),
        "BatchCreateContactMethodsResponse": frozenset({"results"}),
        "BatchCreateContactMethodsResult": frozenset({"contact_method", "error"}),
        # The record promoted in place of the deleted one was not named by the call.
        "DeleteContactMethodResponse": frozenset(),
        "BatchDeleteContactMethodsResponse": frozenset({"results"}),
        "BatchDeleteContactMethodsResult": frozenset({"deleted_id", "error"}),
        # The number of records that the call itself deleted.
        "EraseClientContactMethodsResponse": frozenset({"erased_count"}),
        # The caller sends the code to the value.
        "StartContactMethodVerificationResponse": frozenset(
            {"code", "value", "type", "expires_at", "attempts_left", "sends_left"}
        ),
        "CheckContactMethodVerificationResponse": frozenset({"result", "attempts_left", "contact_method"}),
        "SetContactMethodVerificationResponse": frozenset({"contact_method"}),
        "ContactMethod": frozenset({"id"}),
        # Without the metadata, which names the holder of an external id.
        "BatchError": frozenset({"code", "reason", "message", "field_violations"}),
        "FieldViolation": frozenset({"field", "description"}),
    }
)
"""The fields that remain, by the name of their message. Calls whose answers are missing here require `read`."""

# Keys in the metadata of an error that name no record.
_ERROR_METADATA = frozenset({"request_id", "limit"})


def visible(answer: M, caller: Caller | None) -> M:
    """Return an answer, from which what its caller may not read has been removed."""
    if caller is None or not caller.may_read:
        _restrict(answer)
    return answer


def visible_error(error: ContactsvcError, caller: Caller | None) -> ContactsvcError:
    """Return an error without the metadata that its caller may not read."""
    if (caller is not None and caller.may_read) or error.metadata.keys() <= _ERROR_METADATA:
        return error
    return error.with_metadata({key: value for key, value in error.metadata.items() if key in _ERROR_METADATA})


def _restrict(message: Message) -> None:
    shown = SHOWN_WITHOUT_READ.get(message.DESCRIPTOR.name, frozenset())
    for field, value in message.ListFields():
        if field.name not in shown:
            message.ClearField(field.name)
        elif isinstance(value, Timestamp):
            continue
        elif isinstance(value, Message):
            _restrict(value)
        elif field.message_type is not None:
            for part in value:
                _restrict(part)
