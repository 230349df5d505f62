"""The RPCs: one short method each, convert, call, convert. Everything around them is in calls.py."""

from __future__ import annotations

from collections.abc import Mapping

from contactsvc import convert
from contactsvc.calls import Call
from contactsvc.convert import RequestParser
from contactsvc.domain.environment import Environment
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
        new = self._parser.parse_new(request)
        return convert.created(await self._services[call.environment].create(new))

    async def GetContactMethod(self, request: pb.GetContactMethodRequest, call: Call) -> pb.GetContactMethodResponse:
        """Return a record by its id."""
        record = await self._services[call.environment].get(self._parser.parse_id(request))
        return pb.GetContactMethodResponse(contact_method=convert.to_proto(record))

    async def GetContactMethodByExternalId(
        self, request: pb.GetContactMethodByExternalIdRequest, call: Call
    ) -> pb.GetContactMethodByExternalIdResponse:
        """Return a record by its external id."""
        external_id = self._parser.parse_external_id(request)
        record = await self._services[call.environment].get_by_external_id(external_id)
        return pb.GetContactMethodByExternalIdResponse(contact_method=convert.to_proto(record))

    async def GetContactMethodByMetadata(
        self, request: pb.GetContactMethodByMetadataRequest, call: Call
    ) -> pb.GetContactMethodByMetadataResponse:
        """Return a record by a metadata pair."""
        lookup = self._parser.parse_metadata_lookup(request)
        record = await self._services[call.environment].get_by_metadata(lookup.key, lookup.value, lookup.client_id)
        return pb.GetContactMethodByMetadataResponse(contact_method=convert.to_proto(record))

    async def ListContactMethods(
        self, request: pb.ListContactMethodsRequest, call: Call
    ) -> pb.ListContactMethodsResponse:
        """Return a page of records."""
        listing = self._parser.parse_listing(request)
        return convert.listed(await self._services[call.environment].list_page(listing))

    async def ListClientContactMethods(
        self, request: pb.ListClientContactMethodsRequest, call: Call
    ) -> pb.ListClientContactMethodsResponse:
        """Return a page of a client's records."""
        listing = self._parser.parse_client_listing(request)
        return convert.client_listed(await self._services[call.environment].list_page(listing))

    async def UpdateContactMethod(
        self, request: pb.UpdateContactMethodRequest, call: Call
    ) -> pb.UpdateContactMethodResponse:
        """Change a record."""
        id_, change = self._parser.parse_change(request)
        return convert.updated(await self._services[call.environment].update(id_, change))

    async def DeleteContactMethod(
        self, request: pb.DeleteContactMethodRequest, call: Call
    ) -> pb.DeleteContactMethodResponse:
        """Delete a record."""
        command = self._parser.parse_delete(request)
        promoted_id = await self._services[call.environment].delete(
            command.id, command.policy, allow_missing=command.allow_missing
        )
        return convert.deleted(promoted_id)

    async def GetPrimaryContactMethod(
        self, request: pb.GetPrimaryContactMethodRequest, call: Call
    ) -> pb.GetPrimaryContactMethodResponse:
        """Return the primary of a client and type."""
        slot = self._parser.parse_slot(request)
        return convert.primary(await self._services[call.environment].get_primary(slot))

    async def BatchCreateContactMethods(
        self, request: pb.BatchCreateContactMethodsRequest, call: Call
    ) -> pb.BatchCreateContactMethodsResponse:
        """Create several records."""
        items = self._parser.parse_batch_create(request)
        outcomes = await self._services[call.environment].batch_create(items, partial=request.partial)
        return convert.batch_created(outcomes)
