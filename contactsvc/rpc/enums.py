"""The enums of the proto and the domain's own, matched by name, so that a new value is added in one place."""

from __future__ import annotations

from typing import Any

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.listing import SortField
from contactsvc.domain.outcomes import Action
from contactsvc.domain.primary import PrimaryDeletePolicy
from contactsvc.v1 import contact_methods_pb2 as pb

# The stubs have a type for each enum; at runtime its values are plain integers.
TYPE_NUMBERS: dict[ContactMethodType, Any] = {
    type_: pb.ContactMethodType.Value(f"CONTACT_METHOD_TYPE_{type_.name}") for type_ in ContactMethodType
}
TYPES: dict[int, ContactMethodType] = {number: type_ for type_, number in TYPE_NUMBERS.items()}

SORT_FIELDS: dict[int, SortField] = {
    pb.ContactMethodSortField.Value(f"CONTACT_METHOD_SORT_FIELD_{field.name}"): field for field in SortField
}

# Unspecified leaves no primary.
DELETE_POLICIES: dict[int, PrimaryDeletePolicy] = {
    pb.PRIMARY_DELETE_POLICY_UNSPECIFIED: PrimaryDeletePolicy.LEAVE_NONE,
    **{
        pb.PrimaryDeletePolicy.Value(f"PRIMARY_DELETE_POLICY_{policy.name}"): policy
        for policy in PrimaryDeletePolicy
        if policy is not PrimaryDeletePolicy.LEAVE_NONE
    },
}

ACTION_NUMBERS: dict[Action, Any] = {
    action: pb.UpsertAction.Value(f"UPSERT_ACTION_{action.name}") for action in Action if action is not Action.DELETED
}
