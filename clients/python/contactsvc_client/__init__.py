"""The Python client of contactsvc: `AsyncContactsClient` and the blocking `ContactsClient`, with the same methods."""

from contactsvc_client._async.client import AsyncContactMethods, AsyncContactsClient
from contactsvc_client._blocking.client import ContactMethods, ContactsClient
from contactsvc_client.errors import (
    APIError,
    ConflictError,
    ContactsError,
    ForbiddenError,
    Issue,
    NetworkError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TimeoutError,  # noqa: A004 - the SDK's name; it is the builtin one as well
    UnauthorizedError,
    ValidationError,
)
from contactsvc_client.filters import Filter, contains, one_of
from contactsvc_client.items import ContactMethodUpdate, ContactMethodUpsert, NewContactMethod, SyncItem
from contactsvc_client.iteration import collect_all, collect_up_to, get_first
from contactsvc_client.records import (
    AtomicBatch,
    ContactMethod,
    ContactMethodType,
    DeleteResult,
    FoundMany,
    Page,
    Pagination,
    PartialBatch,
    SyncResult,
    UpsertAction,
    UpsertedContactMethod,
)
from contactsvc_client.verification import CheckedVerification, StartedVerification, VerificationResult

__all__ = [
    "APIError",
    "AsyncContactMethods",
    "AsyncContactsClient",
    "AtomicBatch",
    "CheckedVerification",
    "ConflictError",
    "ContactMethod",
    "ContactMethodType",
    "ContactMethodUpdate",
    "ContactMethodUpsert",
    "ContactMethods",
    "ContactsClient",
    "ContactsError",
    "DeleteResult",
    "Filter",
    "ForbiddenError",
    "FoundMany",
    "Issue",
    "NetworkError",
    "NewContactMethod",
    "NotFoundError",
    "Page",
    "Pagination",
    "PartialBatch",
    "RateLimitError",
    "ServerError",
    "StartedVerification",
    "SyncItem",
    "SyncResult",
    "TimeoutError",
    "UnauthorizedError",
    "UpsertAction",
    "UpsertedContactMethod",
    "ValidationError",
    "VerificationResult",
    "collect_all",
    "collect_up_to",
    "contains",
    "get_first",
    "one_of",
]
