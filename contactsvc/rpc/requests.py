"""Requests: protobuf -> domain.

"Parse, don't validate": what a `parse_` method returns is valid as far as that is known without the database. One error
reports all violations. The rules of single fields are in domain/validation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message

from contactsvc.domain import validation
from contactsvc.domain.batch import Batch
from contactsvc.domain.clock import Clock
from contactsvc.domain.idempotency import RequestFingerprint, request_id_within
from contactsvc.domain.kinds import ContactMethodType, Slot
from contactsvc.domain.listing import Filter, Listing
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.operations import (
    CheckVerification,
    Create,
    Delete,
    Operation,
    SetVerification,
    StartVerification,
    Sync,
    SyncItem,
    Update,
    Upsert,
)
from contactsvc.domain.primary import PrimaryDeletePolicy
from contactsvc.domain.validation import Violations
from contactsvc.domain.verification import VerificationSecrets
from contactsvc.errors import InvalidFields
from contactsvc.rpc.enums import DELETE_POLICIES
from contactsvc.rpc.filters import parse_filter, parse_sort, parse_time
from contactsvc.rpc.patches import PatchParser, parse_type
from contactsvc.v1 import contact_methods_pb2 as pb

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class MetadataLookup:
    """A valid request for the record that carries a pair."""

    key: str
    value: str
    client_id: str | None


class RequestParser:
    """Protobuf -> domain, under this server's rules for values.

    Args:
        rules: the rules for values.
        clock: the present time.
        secrets: returns the verification secrets of the environment.
    """

    def __init__(self, rules: ValueRules, *, clock: Clock, secrets: Callable[[], VerificationSecrets]) -> None:
        self._rules = rules
        self._clock = clock
        self._secrets = secrets
        self._patches = PatchParser(rules)

    def parse_create(
        self, request: pb.CreateContactMethodRequest, key_id: str | None
    ) -> tuple[Create, RequestFingerprint | None]:
        """Read a request to create."""
        violations = Violations()
        return self._create(violations, request), _fingerprint(violations, request, key_id)

    def parse_id(self, request: pb.GetContactMethodRequest) -> str:
        """Read a request for a record by its id."""
        violations = Violations()
        id_ = validation.contact_method_id(violations, "id", request.id)
        violations.raise_if_any()
        return id_

    def parse_external_id(self, request: pb.GetContactMethodByExternalIdRequest) -> str:
        """Read a request for a record by its external id."""
        violations = Violations()
        external_id = validation.external_id(violations, "external_id", request.external_id)
        violations.raise_if_any()
        return external_id

    def parse_metadata_lookup(self, request: pb.GetContactMethodByMetadataRequest) -> MetadataLookup:
        """Read a request for a record by a pair."""
        violations = Violations()
        lookup = MetadataLookup(
            key=validation.metadata_key(violations, "key", request.key),
            value=validation.metadata_value(violations, "value", request.value),
            client_id=validation.client_id(violations, "client_id", request.client_id)
            if request.HasField("client_id")
            else None,
        )
        violations.raise_if_any()
        return lookup

    def parse_slot(self, request: pb.GetPrimaryContactMethodRequest) -> Slot:
        """Read a request for a primary."""
        violations = Violations()
        client_id = validation.client_id(violations, "client_id", request.client_id)
        type_ = parse_type(violations, "type", request.type)
        violations.raise_if_any()
        return client_id, type_ or ContactMethodType.OTHER

    def parse_listing(self, request: pb.ListContactMethodsRequest) -> Listing:
        """Read a request for a page."""
        violations = Violations()
        if request.page_token and request.offset:
            violations.add("offset", "cannot be combined with page_token")
        listing = Listing(
            filter=parse_filter(violations, "filter", request.filter, self._rules),
            sort=parse_sort(violations, "sort", request.sort),
            page_size=validation.page_size(violations, "page_size", request.page_size),
            page_token=request.page_token,
            offset=validation.not_negative(violations, "offset", request.offset),
            include_total_size=request.include_total_size,
        )
        violations.raise_if_any()
        return listing

    def parse_client_listing(self, request: pb.ListClientContactMethodsRequest) -> Listing:
        """Read a request for a page of one client."""
        violations = Violations()
        client_id = validation.client_id(violations, "client_id", request.client_id)
        type_ = parse_type(violations, "type", request.type) if request.HasField("type") else None
        listing = Listing(
            filter=Filter(client_ids=(client_id,), types=(type_,) if type_ else ()),
            page_size=validation.page_size(violations, "page_size", request.page_size),
            page_token=request.page_token,
        )
        violations.raise_if_any()
        return listing

    def parse_stream(self, request: pb.StreamContactMethodsRequest) -> Listing:
        """Read a request for all pages."""
        violations = Violations()
        listing = Listing(
            filter=parse_filter(violations, "filter", request.filter, self._rules),
            sort=parse_sort(violations, "sort", request.sort),
            page_size=validation.MAX_PAGE_SIZE,
            page_token=request.page_token,
        )
        violations.raise_if_any()
        return listing

    def parse_update(
        self, request: pb.UpdateContactMethodRequest, key_id: str | None
    ) -> tuple[Update, RequestFingerprint | None]:
        """Read a request to update."""
        violations = Violations()
        return self._update(violations, request), _fingerprint(violations, request, key_id)

    def parse_delete(
        self, request: pb.DeleteContactMethodRequest, key_id: str | None
    ) -> tuple[Delete, RequestFingerprint | None]:
        """Read a request to delete."""
        violations = Violations()
        policy = DELETE_POLICIES.get(request.on_primary)
        if policy is None:
            violations.add("on_primary", "must be a value of PrimaryDeletePolicy")
        delete = Delete(
            validation.contact_method_id(violations, "id", request.id),
            policy or PrimaryDeletePolicy.LEAVE_NONE,
            request.allow_missing,
            validation.etag(violations, "etag", request.etag),
        )
        return delete, _fingerprint(violations, request, key_id)

    def parse_upsert(
        self, request: pb.UpsertContactMethodRequest, key_id: str | None
    ) -> tuple[Upsert, RequestFingerprint | None]:
        """Read a request to upsert."""
        violations = Violations()
        return self._upsert(violations, request), _fingerprint(violations, request, key_id)

    def parse_batch_create(
        self, request: pb.BatchCreateContactMethodsRequest, key_id: str | None
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to create."""
        return _batch(request, key_id, self._create)

    def parse_batch_update(
        self, request: pb.BatchUpdateContactMethodsRequest, key_id: str | None
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to update."""
        return _batch(request, key_id, self._update)

    def parse_batch_upsert(
        self, request: pb.BatchUpsertContactMethodsRequest, key_id: str | None
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to upsert."""
        return _batch(request, key_id, self._upsert)

    def parse_batch_delete(
        self, request: pb.BatchDeleteContactMethodsRequest, key_id: str | None
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of ids to delete."""
        violations = Violations()
        validation.count(violations, "ids", request.ids, at_least=1, at_most=validation.MAX_BATCH_ITEMS)
        fingerprint = _fingerprint(violations, request, key_id)
        items: list[Operation | InvalidFields] = []
        for position, raw in enumerate(request.ids):
            own = Violations()
            id_ = validation.contact_method_id(own, f"ids[{position}]", raw)
            items.append(own.error() or Delete(id_))
        return Batch(items, request.partial, "ids", plain=True), fingerprint

    def parse_batch_get(self, request: pb.BatchGetContactMethodsRequest) -> tuple[str, ...]:
        """Read a request for several records by their ids."""
        violations = Violations()
        ids = validation.texts(violations, "ids", request.ids, validation.contact_method_id)
        if not ids:
            violations.add("ids", "must not be empty")
        violations.raise_if_any()
        return ids

    def parse_sync(
        self, request: pb.SyncClientContactMethodsRequest, key_id: str | None
    ) -> tuple[Sync, RequestFingerprint | None]:
        """Read a request to sync."""
        violations = Violations()
        client_id = validation.client_id(violations, "client_id", request.client_id)
        validation.count(violations, "items", request.items, at_most=validation.MAX_BATCH_ITEMS)
        if request.replace and not request.items and not request.allow_empty_replace:
            violations.add("items", "must not be empty with replace, unless allow_empty_replace is set as well")
        items = []
        for position, item in enumerate(request.items[: validation.MAX_BATCH_ITEMS]):
            own = Violations()
            items.append(self._sync_item(own, item))
            violations.adopt(own, f"items[{position}]")
        fingerprint = _fingerprint(violations, request, key_id)
        return Sync(client_id, tuple(items), request.replace), fingerprint

    def parse_erase(
        self, request: pb.EraseClientContactMethodsRequest, key_id: str | None
    ) -> tuple[str, RequestFingerprint | None]:
        """Read a request to erase a client."""
        violations = Violations()
        client_id = validation.client_id(violations, "client_id", request.client_id)
        return client_id, _fingerprint(violations, request, key_id)

    def parse_start_verification(
        self, request: pb.StartContactMethodVerificationRequest, key_id: str | None
    ) -> tuple[StartVerification, RequestFingerprint | None]:
        """Read a request to start a verification."""
        violations = Violations()
        start = StartVerification(
            validation.contact_method_id(violations, "id", request.id),
            validation.etag(violations, "etag", request.etag),
        )
        return start, _fingerprint(violations, request, key_id)

    def parse_check_verification(
        self, request: pb.CheckContactMethodVerificationRequest, key_id: str | None
    ) -> tuple[CheckVerification, RequestFingerprint | None]:
        """Read a request to check a code."""
        violations = Violations()
        check = CheckVerification(
            validation.contact_method_id(violations, "id", request.id),
            validation.verification_code(violations, "code", request.code),
        )
        return check, _fingerprint(violations, request, key_id, secrets=self._secrets())

    def parse_set_verification(
        self, request: pb.SetContactMethodVerificationRequest, key_id: str | None
    ) -> tuple[SetVerification, RequestFingerprint | None]:
        """Read a request to set or clear a verification without a code."""
        violations = Violations()
        verified_at = None
        if request.HasField("verified_at"):
            verified_at = parse_time(violations, "verified_at", request.verified_at)
            if verified_at is not None and verified_at > self._clock():
                violations.add("verified_at", "must not be in the future")
        wanted = SetVerification(
            id=validation.contact_method_id(violations, "id", request.id),
            verified=request.verified,
            value=validation.value(violations, "value", request.value) if request.HasField("value") else None,
            verified_at=verified_at,
            method=validation.verification_method(violations, "method", request.method)
            if request.HasField("method")
            else None,
            etag=validation.etag(violations, "etag", request.etag),
        )
        if not request.verified:
            for name in ("verified_at", "method"):
                if request.HasField(name):
                    violations.add(name, "must not be set to clear a verification")
        return wanted, _fingerprint(violations, request, key_id)

    def _create(self, violations: Violations, request: pb.CreateContactMethodRequest) -> Create:
        return Create(
            client_id=validation.client_id(violations, "client_id", request.client_id),
            patch=self._patches.of_create(violations, request),
        )

    def _update(self, violations: Violations, request: pb.UpdateContactMethodRequest) -> Update:
        return Update(
            patch=self._patches.of_update(violations, request),
            id=validation.contact_method_id(violations, "id", request.id),
            etag=validation.etag(violations, "etag", request.etag),
        )

    def _upsert(self, violations: Violations, request: pb.UpsertContactMethodRequest) -> Upsert:
        return Upsert(
            client_id=validation.client_id(violations, "client_id", request.client_id),
            external_id=validation.external_id(violations, "external_id", request.external_id),
            patch=self._patches.of_upsert(violations, request),
            etag=validation.etag(violations, "etag", request.etag),
        )

    def _sync_item(self, violations: Violations, item: pb.SyncItem) -> SyncItem:
        id_ = validation.contact_method_id(violations, "id", item.id) if item.HasField("id") else None
        patch = None
        if item.delete and (id_ is not None or item.external_id):
            if item.external_id:
                validation.external_id(violations, "external_id", item.external_id)
        else:
            patch = self._patches.of_sync_item(violations, item)
        return SyncItem(
            id=id_,
            external_id=item.external_id or None,
            patch=patch,
            etag=validation.etag(violations, "etag", item.etag),
            delete=item.delete,
        )


def _fingerprint(
    violations: Violations, request: Any, key_id: str | None, *, secrets: VerificationSecrets | None = None
) -> RequestFingerprint | None:
    """Return the fingerprint of a request that has a request_id; raise the violations found so far.

    The digest is of the message as parsed here, since callers may encode equal messages differently.

    Args:
        violations: those found so far.
        request: a message with a request_id.
        key_id: the API key of the caller, to which its request_ids belong; None for a caller without one.
        secrets: keys of the digest, for requests that hold a code: a plain digest of six digits would give them away.
            The request is stored with the current one, and recognized by all, since they may be rotated meanwhile.
    """
    id_ = validation.request_id(violations, "request_id", request.request_id)
    violations.raise_if_any()
    if not id_:
        return None
    message: Message = request
    content = message.DESCRIPTOR.full_name.encode() + message.SerializeToString(deterministic=True)
    keys = [b""] if secrets is None else [secrets.current.key, *(secret.key for secret in secrets.all.values())]
    digest, *others = (blake2b(content, digest_size=_DIGEST_BYTES, key=key).digest() for key in keys)
    return RequestFingerprint(request_id_within(key_id, id_), digest, frozenset(others))


def _batch(
    request: Any, key_id: str | None, parse: Callable[[Violations, Any], Operation]
) -> tuple[Batch, RequestFingerprint | None]:
    """Read the items of a batch; each becomes an operation, or violations with paths that start at the batch."""
    violations = Violations()
    validation.count(violations, "requests", request.requests, at_least=1, at_most=validation.MAX_BATCH_ITEMS)
    fingerprint = _fingerprint(violations, request, key_id)
    items: list[Operation | InvalidFields] = []
    for position, item in enumerate(request.requests):
        own = Violations()
        operation = parse(own, item)
        if item.request_id:
            own.add("request_id", "must not be set inside a batch; set it on the batch")
        error = own.error()
        items.append(error.below(f"requests[{position}]") if error else operation)
    return Batch(items, request.partial), fingerprint
