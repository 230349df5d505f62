"""The Python client of contactsvc: `AsyncContactsClient` and the blocking `ContactsClient`, with the same methods."""

from contactsvc_client._async.client import AsyncContactMethods, AsyncContactsClient
from contactsvc_client._blocking.client import ContactMethods, ContactsClient
from contactsvc_client._errors import (
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
from contactsvc_client._filters import Filter, Sort, SortKey, contains, one_of
from contactsvc_client._items import ContactMethodUpdate, ContactMethodUpsert, NewContactMethod, SyncItem
from contactsvc_client._iteration import collect_all, collect_up_to, get_first
from contactsvc_client._operations import OnPrimary
from contactsvc_client._records import (
    AnyContactMethodType,
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
    WrittenContactMethod,
)
from contactsvc_client._settings import Environment, Pem, TlsOptions
from contactsvc_client._verification import CheckedVerification, StartedVerification, VerificationResult

__version__ = "0.2.0"

__all__ = [
    "APIError",
    "AnyContactMethodType",
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
    "Environment",
    "Filter",
    "ForbiddenError",
    "FoundMany",
    "Issue",
    "NetworkError",
    "NewContactMethod",
    "NotFoundError",
    "OnPrimary",
    "Page",
    "Pagination",
    "PartialBatch",
    "Pem",
    "RateLimitError",
    "ServerError",
    "Sort",
    "SortKey",
    "StartedVerification",
    "SyncItem",
    "SyncResult",
    "TimeoutError",
    "TlsOptions",
    "UnauthorizedError",
    "UpsertAction",
    "UpsertedContactMethod",
    "ValidationError",
    "VerificationResult",
    "WrittenContactMethod",
    "collect_all",
    "collect_up_to",
    "contains",
    "get_first",
    "one_of",
]

# Tracebacks name exceptions as callers import them.
for _name in __all__:
    if isinstance(_public := globals()[_name], type) and issubclass(_public, ContactsError):
        _public.__module__ = __name__
