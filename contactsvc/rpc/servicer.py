"""The RPCs: one short method each, convert, call, convert. Everything around them is in calls.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from contactsvc.domain.kinds import Environment
from contactsvc.rpc import responses
from contactsvc.rpc.pipeline import Call
from contactsvc.rpc.requests import RequestParser
from contactsvc.service import ContactMethods
from contactsvc.v1 import contact_methods_pb2 as pb


class ContactMethodsServicer:
    """Implements contactsvc.v1.ContactMethodsService; calls.py binds its methods to the RPCs by their names."""

    def __init__(self, services: Mapping[Environment, ContactMethods], parser: RequestParser) -> None:
        self._services = services
        self._parser = parser

    async def CreateContactMethod(
        self, request: pb.CreateContactMethodRequest, call: Call
    ) -> pb.CreateContactMethodResponse:
        """Create a record."""
        service = self._services[call.environment]
        new, mark = self._parser.parse_create(request)
        return responses.created(await service.create(new, mark))

    async def GetContactMethod(self, request: pb.GetContactMethodRequest, call: Call) -> pb.GetContactMethodResponse:
        """Return a record by its id."""
        service = self._services[call.environment]
        id_ = self._parser.parse_id(request)
        return pb.GetContactMethodResponse(contact_method=responses.to_proto(await service.get(id_)))

    async def GetContactMethodByExternalId(
        self, request: pb.GetContactMethodByExternalIdRequest, call: Call
    ) -> pb.GetContactMethodByExternalIdResponse:
        """Return a record by its external id."""
        service = self._services[call.environment]
        external_id = self._parser.parse_external_id(request)
        record = await service.get_by_external_id(external_id)
        return pb.GetContactMethodByExternalIdResponse(contact_method=responses.to_proto(record))

    async def GetContactMethodByMetadata(
        self, request: pb.GetContactMethodByMetadataRequest, call: Call
    ) -> pb.GetContactMethodByMetadataResponse:
        """Return a record by a metadata pair."""
        service = self._services[call.environment]
        lookup = self._parser.parse_metadata_lookup(request)
        record = await service.get_by_metadata(lookup.key, lookup.value, lookup.client_id)
        return pb.GetContactMethodByMetadataResponse(contact_method=responses.to_proto(record))

    async def ListContactMethods(
        self, request: pb.ListContactMethodsRequest, call: Call
    ) -> pb.ListContactMethodsResponse:
        """Return a page of records."""
        service = self._services[call.environment]
        listing = self._parser.parse_listing(request)
        return await responses.listed(await service.list_page(listing))

    async def ListClientContactMethods(
        self, request: pb.ListClientContactMethodsRequest, call: Call
    ) -> pb.ListClientContactMethodsResponse:
        """Return a page of a client's records."""
        service = self._services[call.environment]
        listing = self._parser.parse_client_listing(request)
        return await responses.client_listed(await service.list_page(listing))

    async def UpdateContactMethod(
        self, request: pb.UpdateContactMethodRequest, call: Call
    ) -> pb.UpdateContactMethodResponse:
        """Change a record."""
        service = self._services[call.environment]
        update, mark = self._parser.parse_update(request)
        return responses.updated(await service.update(update, mark))

    async def DeleteContactMethod(
        self, request: pb.DeleteContactMethodRequest, call: Call
    ) -> pb.DeleteContactMethodResponse:
        """Delete a record."""
        service = self._services[call.environment]
        delete, mark = self._parser.parse_delete(request)
        return responses.deleted(await service.delete(delete, mark))

    async def GetPrimaryContactMethod(
        self, request: pb.GetPrimaryContactMethodRequest, call: Call
    ) -> pb.GetPrimaryContactMethodResponse:
        """Return the primary of a client and type."""
        service = self._services[call.environment]
        slot = self._parser.parse_slot(request)
        return responses.primary(await service.get_primary(slot))

    async def BatchCreateContactMethods(
        self, request: pb.BatchCreateContactMethodsRequest, call: Call
    ) -> pb.BatchCreateContactMethodsResponse:
        """Create several records."""
        service = self._services[call.environment]
        batch, mark = self._parser.parse_batch_create(request)
        return responses.batch_created(await service.batch(batch, mark))

    async def BatchUpdateContactMethods(
        self, request: pb.BatchUpdateContactMethodsRequest, call: Call
    ) -> pb.BatchUpdateContactMethodsResponse:
        """Change several records."""
        service = self._services[call.environment]
        batch, mark = self._parser.parse_batch_update(request)
        return responses.batch_updated(await service.batch(batch, mark))

    async def BatchDeleteContactMethods(
        self, request: pb.BatchDeleteContactMethodsRequest, call: Call
    ) -> pb.BatchDeleteContactMethodsResponse:
        """Delete several records."""
        service = self._services[call.environment]
        batch, mark = self._parser.parse_batch_delete(request)
        return responses.batch_deleted(await service.batch(batch, mark))

    async def BatchGetContactMethods(
        self, request: pb.BatchGetContactMethodsRequest, call: Call
    ) -> pb.BatchGetContactMethodsResponse:
        """Return several records by their ids."""
        service = self._services[call.environment]
        ids = self._parser.parse_batch_get(request)
        return responses.found(await service.batch_get(ids))

    async def UpsertContactMethod(
        self, request: pb.UpsertContactMethodRequest, call: Call
    ) -> pb.UpsertContactMethodResponse:
        """Create a record, or change the one with its external id."""
        service = self._services[call.environment]
        upsert, mark = self._parser.parse_upsert(request)
        return responses.upserted(await service.upsert(upsert, mark))

    async def BatchUpsertContactMethods(
        self, request: pb.BatchUpsertContactMethodsRequest, call: Call
    ) -> pb.BatchUpsertContactMethodsResponse:
        """Upsert several records."""
        service = self._services[call.environment]
        batch, mark = self._parser.parse_batch_upsert(request)
        return responses.batch_upserted(await service.batch(batch, mark))

    async def SyncClientContactMethods(
        self, request: pb.SyncClientContactMethodsRequest, call: Call
    ) -> pb.SyncClientContactMethodsResponse:
        """Make the records of a client what a list says."""
        service = self._services[call.environment]
        sync, mark = self._parser.parse_sync(request)
        return responses.synced(await service.sync(sync, mark))

    async def EraseClientContactMethods(
        self, request: pb.EraseClientContactMethodsRequest, call: Call
    ) -> pb.EraseClientContactMethodsResponse:
        """Delete all records of a client."""
        service = self._services[call.environment]
        client_id, mark = self._parser.parse_erase(request)
        return pb.EraseClientContactMethodsResponse(erased_count=await service.erase_client(client_id, mark))

    async def StreamContactMethods(
        self, request: pb.StreamContactMethodsRequest, call: Call
    ) -> AsyncGenerator[pb.StreamContactMethodsResponse]:
        """Send all records that match, page by page."""
        service = self._services[call.environment]
        async with aclosing(service.stream(self._parser.parse_stream(request))) as pages:
            async for page in pages:
                yield await responses.streamed(page)
