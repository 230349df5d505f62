"""The RPCs: one short method each, which parses the request, calls the use case and builds the response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, nullcontext

from contactsvc.domain.api_keys import TO_CREATE_A_PRIMARY
from contactsvc.rpc import responses
from contactsvc.rpc.admission import ScanLimiter
from contactsvc.rpc.auth import Caller
from contactsvc.rpc.requests import RequestParser
from contactsvc.service import ContactMethods
from contactsvc.v1 import contact_methods_pb2 as pb


class ContactMethodsServicer:
    """Implements contactsvc.v1.ContactMethodsService for one environment; rpc/pipeline.py binds methods by name.

    The pipeline has authenticated the caller, checked the permissions of the RPC, and removes from the answer what the
    caller may not read.

    Args:
        service: the use cases.
        parser: parses requests.
        scans: limits long reads.
    """

    def __init__(self, service: ContactMethods, parser: RequestParser, scans: ScanLimiter) -> None:
        self._service = service
        self._parser = parser
        self._scans = scans

    async def CreateContactMethod(
        self, request: pb.CreateContactMethodRequest, caller: Caller
    ) -> pb.CreateContactMethodResponse:
        """Create a record."""
        _check_claims(caller, [request])
        create, fingerprint = self._parser.parse_create(request, caller.key_id)
        return responses.created(await self._service.create(create, fingerprint))

    async def GetContactMethod(
        self, request: pb.GetContactMethodRequest, caller: Caller
    ) -> pb.GetContactMethodResponse:
        """Return a record by its id."""
        id_ = self._parser.parse_id(request)
        return responses.got(await self._service.get(id_))

    async def GetContactMethodByExternalId(
        self, request: pb.GetContactMethodByExternalIdRequest, caller: Caller
    ) -> pb.GetContactMethodByExternalIdResponse:
        """Return a record by its external id."""
        external_id = self._parser.parse_external_id(request)
        record = await self._service.get_by_external_id(external_id)
        return pb.GetContactMethodByExternalIdResponse(contact_method=responses.to_proto(record))

    async def GetContactMethodByMetadata(
        self, request: pb.GetContactMethodByMetadataRequest, caller: Caller
    ) -> pb.GetContactMethodByMetadataResponse:
        """Return a record by a metadata pair."""
        lookup = self._parser.parse_metadata_lookup(request)
        record = await self._service.get_by_metadata(lookup.key, lookup.value, lookup.client_id)
        return pb.GetContactMethodByMetadataResponse(contact_method=responses.to_proto(record))

    async def ListContactMethods(
        self, request: pb.ListContactMethodsRequest, caller: Caller
    ) -> pb.ListContactMethodsResponse:
        """Return a page of records."""
        listing = self._parser.parse_listing(request)
        with self._scans.counted(caller.key_id) if listing.is_scan else nullcontext():
            page = await self._service.list_page(listing)
        return await responses.listed(page)

    async def ListClientContactMethods(
        self, request: pb.ListClientContactMethodsRequest, caller: Caller
    ) -> pb.ListClientContactMethodsResponse:
        """Return a page of a client's records."""
        listing = self._parser.parse_client_listing(request)
        return await responses.client_listed(await self._service.list_page(listing))

    async def UpdateContactMethod(
        self, request: pb.UpdateContactMethodRequest, caller: Caller
    ) -> pb.UpdateContactMethodResponse:
        """Change a record."""
        update, fingerprint = self._parser.parse_update(request, caller.key_id)
        return responses.updated(await self._service.update(update, fingerprint))

    async def DeleteContactMethod(
        self, request: pb.DeleteContactMethodRequest, caller: Caller
    ) -> pb.DeleteContactMethodResponse:
        """Delete a record."""
        delete, fingerprint = self._parser.parse_delete(request, caller.key_id)
        return responses.deleted(await self._service.delete(delete, fingerprint))

    async def GetPrimaryContactMethod(
        self, request: pb.GetPrimaryContactMethodRequest, caller: Caller
    ) -> pb.GetPrimaryContactMethodResponse:
        """Return the primary of a client and type."""
        slot = self._parser.parse_slot(request)
        return responses.primary(await self._service.get_primary(slot))

    async def BatchCreateContactMethods(
        self, request: pb.BatchCreateContactMethodsRequest, caller: Caller
    ) -> pb.BatchCreateContactMethodsResponse:
        """Create several records."""
        _check_claims(caller, request.requests)
        batch, fingerprint = self._parser.parse_batch_create(request, caller.key_id)
        return responses.batch_created(await self._service.batch(batch, fingerprint))

    async def BatchUpdateContactMethods(
        self, request: pb.BatchUpdateContactMethodsRequest, caller: Caller
    ) -> pb.BatchUpdateContactMethodsResponse:
        """Change several records."""
        batch, fingerprint = self._parser.parse_batch_update(request, caller.key_id)
        return responses.batch_updated(await self._service.batch(batch, fingerprint))

    async def BatchDeleteContactMethods(
        self, request: pb.BatchDeleteContactMethodsRequest, caller: Caller
    ) -> pb.BatchDeleteContactMethodsResponse:
        """Delete several records."""
        batch, fingerprint = self._parser.parse_batch_delete(request, caller.key_id)
        return responses.batch_deleted(await self._service.batch(batch, fingerprint))

    async def BatchGetContactMethods(
        self, request: pb.BatchGetContactMethodsRequest, caller: Caller
    ) -> pb.BatchGetContactMethodsResponse:
        """Return several records by their ids."""
        ids = self._parser.parse_batch_get(request)
        return responses.found(await self._service.batch_get(ids))

    async def UpsertContactMethod(
        self, request: pb.UpsertContactMethodRequest, caller: Caller
    ) -> pb.UpsertContactMethodResponse:
        """Create a record, or change the one with its external id."""
        upsert, fingerprint = self._parser.parse_upsert(request, caller.key_id)
        return responses.upserted(await self._service.upsert(upsert, fingerprint))

    async def BatchUpsertContactMethods(
        self, request: pb.BatchUpsertContactMethodsRequest, caller: Caller
    ) -> pb.BatchUpsertContactMethodsResponse:
        """Upsert several records."""
        batch, fingerprint = self._parser.parse_batch_upsert(request, caller.key_id)
        return responses.batch_upserted(await self._service.batch(batch, fingerprint))

    async def SyncClientContactMethods(
        self, request: pb.SyncClientContactMethodsRequest, caller: Caller
    ) -> pb.SyncClientContactMethodsResponse:
        """Make the records of a client what a list says."""
        sync, fingerprint = self._parser.parse_sync(request, caller.key_id)
        return responses.synced(await self._service.sync(sync, fingerprint))

    async def EraseClientContactMethods(
        self, request: pb.EraseClientContactMethodsRequest, caller: Caller
    ) -> pb.EraseClientContactMethodsResponse:
        """Delete all records of a client."""
        client_id, fingerprint = self._parser.parse_erase(request, caller.key_id)
        return pb.EraseClientContactMethodsResponse(
            erased_count=await self._service.erase_client(client_id, fingerprint)
        )

    async def StartContactMethodVerification(
        self, request: pb.StartContactMethodVerificationRequest, caller: Caller
    ) -> pb.StartContactMethodVerificationResponse:
        """Start the verification of a value, or send its code again."""
        start, fingerprint = self._parser.parse_start_verification(request, caller.key_id)
        return responses.verification_started(await self._service.verifications.start(start, fingerprint))

    async def CheckContactMethodVerification(
        self, request: pb.CheckContactMethodVerificationRequest, caller: Caller
    ) -> pb.CheckContactMethodVerificationResponse:
        """Check a code."""
        check, fingerprint = self._parser.parse_check_verification(request, caller.key_id)
        return responses.verification_checked(await self._service.verifications.check(check, fingerprint))

    async def SetContactMethodVerification(
        self, request: pb.SetContactMethodVerificationRequest, caller: Caller
    ) -> pb.SetContactMethodVerificationResponse:
        """Set or clear a verification on the caller's word."""
        wanted, fingerprint = self._parser.parse_set_verification(request, caller.key_id)
        return responses.verification_set(await self._service.verifications.set(wanted, fingerprint))

    async def StreamContactMethods(
        self, request: pb.StreamContactMethodsRequest, caller: Caller
    ) -> AsyncGenerator[pb.StreamContactMethodsResponse]:
        """Send all records that match, page by page."""
        listing = self._parser.parse_stream(request)
        found = self._service.stream(listing)
        async with aclosing(self._scans.counted_pages(found, caller.key_id) if listing.is_scan else found) as pages:
            async for page in pages:
                yield await responses.streamed(page)


def _check_claims(caller: Caller, creates: Iterable[pb.CreateContactMethodRequest]) -> None:
    """Raise PermissionDenied when one of the creates makes a primary and the caller may not."""
    if any(create.is_primary for create in creates):
        caller.require(TO_CREATE_A_PRIMARY, "a create with is_primary")
