import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContactMethodType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTACT_METHOD_TYPE_UNSPECIFIED: _ClassVar[ContactMethodType]
    CONTACT_METHOD_TYPE_EMAIL: _ClassVar[ContactMethodType]
    CONTACT_METHOD_TYPE_PHONE: _ClassVar[ContactMethodType]
    CONTACT_METHOD_TYPE_FAX: _ClassVar[ContactMethodType]
    CONTACT_METHOD_TYPE_OTHER: _ClassVar[ContactMethodType]

class ContactMethodSortField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTACT_METHOD_SORT_FIELD_UNSPECIFIED: _ClassVar[ContactMethodSortField]
    CONTACT_METHOD_SORT_FIELD_CREATED_AT: _ClassVar[ContactMethodSortField]
    CONTACT_METHOD_SORT_FIELD_UPDATED_AT: _ClassVar[ContactMethodSortField]

class PrimaryDeletePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIMARY_DELETE_POLICY_UNSPECIFIED: _ClassVar[PrimaryDeletePolicy]
    PRIMARY_DELETE_POLICY_PROMOTE_NEXT: _ClassVar[PrimaryDeletePolicy]
    PRIMARY_DELETE_POLICY_REJECT: _ClassVar[PrimaryDeletePolicy]

class UpsertAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPSERT_ACTION_UNSPECIFIED: _ClassVar[UpsertAction]
    UPSERT_ACTION_CREATED: _ClassVar[UpsertAction]
    UPSERT_ACTION_UPDATED: _ClassVar[UpsertAction]
    UPSERT_ACTION_UNCHANGED: _ClassVar[UpsertAction]

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PAGE_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_CONTACT_METHOD_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_EXTERNAL_ID_TAKEN: _ClassVar[ErrorReason]
    ERROR_REASON_ETAG_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_PRIMARY_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_METADATA_AMBIGUOUS: _ClassVar[ErrorReason]
    ERROR_REASON_PRIMARY_REJECTED: _ClassVar[ErrorReason]
    ERROR_REASON_TRANSACTIONS_UNSUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_PERMISSION_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_VERIFICATION_NOT_STARTED: _ClassVar[ErrorReason]
    ERROR_REASON_VERIFICATION_EXHAUSTED: _ClassVar[ErrorReason]
    ERROR_REASON_VERIFICATION_LIMIT: _ClassVar[ErrorReason]
    ERROR_REASON_VALUE_CHANGED: _ClassVar[ErrorReason]

class VerificationResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFICATION_RESULT_UNSPECIFIED: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_VERIFIED: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_WRONG_CODE: _ClassVar[VerificationResult]
CONTACT_METHOD_TYPE_UNSPECIFIED: ContactMethodType
CONTACT_METHOD_TYPE_EMAIL: ContactMethodType
CONTACT_METHOD_TYPE_PHONE: ContactMethodType
CONTACT_METHOD_TYPE_FAX: ContactMethodType
CONTACT_METHOD_TYPE_OTHER: ContactMethodType
CONTACT_METHOD_SORT_FIELD_UNSPECIFIED: ContactMethodSortField
CONTACT_METHOD_SORT_FIELD_CREATED_AT: ContactMethodSortField
CONTACT_METHOD_SORT_FIELD_UPDATED_AT: ContactMethodSortField
PRIMARY_DELETE_POLICY_UNSPECIFIED: PrimaryDeletePolicy
PRIMARY_DELETE_POLICY_PROMOTE_NEXT: PrimaryDeletePolicy
PRIMARY_DELETE_POLICY_REJECT: PrimaryDeletePolicy
UPSERT_ACTION_UNSPECIFIED: UpsertAction
UPSERT_ACTION_CREATED: UpsertAction
UPSERT_ACTION_UPDATED: UpsertAction
UPSERT_ACTION_UNCHANGED: UpsertAction
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_INVALID_PAGE_TOKEN: ErrorReason
ERROR_REASON_MALFORMED_REQUEST: ErrorReason
ERROR_REASON_CONTACT_METHOD_NOT_FOUND: ErrorReason
ERROR_REASON_EXTERNAL_ID_TAKEN: ErrorReason
ERROR_REASON_ETAG_MISMATCH: ErrorReason
ERROR_REASON_PRIMARY_CONFLICT: ErrorReason
ERROR_REASON_METADATA_AMBIGUOUS: ErrorReason
ERROR_REASON_PRIMARY_REJECTED: ErrorReason
ERROR_REASON_TRANSACTIONS_UNSUPPORTED: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_REQUEST_ID_REUSED: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_PERMISSION_DENIED: ErrorReason
ERROR_REASON_OVERLOADED: ErrorReason
ERROR_REASON_VERIFICATION_NOT_STARTED: ErrorReason
ERROR_REASON_VERIFICATION_EXHAUSTED: ErrorReason
ERROR_REASON_VERIFICATION_LIMIT: ErrorReason
ERROR_REASON_VALUE_CHANGED: ErrorReason
VERIFICATION_RESULT_UNSPECIFIED: VerificationResult
VERIFICATION_RESULT_VERIFIED: VerificationResult
VERIFICATION_RESULT_WRONG_CODE: VerificationResult

class CreateContactMethodRequest(_message.Message):
    __slots__ = ("client_id", "type", "value", "label", "is_primary", "external_id", "metadata", "request_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    type: ContactMethodType
    value: str
    label: str
    is_primary: bool
    external_id: str
    metadata: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, client_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., value: _Optional[str] = ..., label: _Optional[str] = ..., is_primary: bool = ..., external_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateContactMethodResponse(_message.Message):
    __slots__ = ("contact_method", "demoted_ids")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetContactMethodRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetContactMethodResponse(_message.Message):
    __slots__ = ("contact_method",)
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class GetContactMethodByExternalIdRequest(_message.Message):
    __slots__ = ("external_id",)
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    def __init__(self, external_id: _Optional[str] = ...) -> None: ...

class GetContactMethodByExternalIdResponse(_message.Message):
    __slots__ = ("contact_method",)
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class GetContactMethodByMetadataRequest(_message.Message):
    __slots__ = ("key", "value", "client_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    client_id: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class GetContactMethodByMetadataResponse(_message.Message):
    __slots__ = ("contact_method",)
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class ListContactMethodsRequest(_message.Message):
    __slots__ = ("filter", "sort", "page_size", "page_token", "offset", "include_total_size")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    filter: ContactMethodFilter
    sort: _containers.RepeatedCompositeFieldContainer[ContactMethodSort]
    page_size: int
    page_token: str
    offset: int
    include_total_size: bool
    def __init__(self, filter: _Optional[_Union[ContactMethodFilter, _Mapping]] = ..., sort: _Optional[_Iterable[_Union[ContactMethodSort, _Mapping]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., offset: _Optional[int] = ..., include_total_size: bool = ...) -> None: ...

class ListContactMethodsResponse(_message.Message):
    __slots__ = ("contact_methods", "next_page_token", "total_size")
    CONTACT_METHODS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    contact_methods: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    next_page_token: str
    total_size: int
    def __init__(self, contact_methods: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class ListClientContactMethodsRequest(_message.Message):
    __slots__ = ("client_id", "type", "page_size", "page_token")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    type: ContactMethodType
    page_size: int
    page_token: str
    def __init__(self, client_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListClientContactMethodsResponse(_message.Message):
    __slots__ = ("contact_methods", "next_page_token")
    CONTACT_METHODS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    contact_methods: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    next_page_token: str
    def __init__(self, contact_methods: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateContactMethodRequest(_message.Message):
    __slots__ = ("id", "type", "value", "label", "is_primary", "external_id", "metadata", "remove_metadata_keys", "replace_metadata", "etag", "request_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REMOVE_METADATA_KEYS_FIELD_NUMBER: _ClassVar[int]
    REPLACE_METADATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: ContactMethodType
    value: str
    label: str
    is_primary: bool
    external_id: str
    metadata: _containers.ScalarMap[str, str]
    remove_metadata_keys: _containers.RepeatedScalarFieldContainer[str]
    replace_metadata: bool
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., value: _Optional[str] = ..., label: _Optional[str] = ..., is_primary: bool = ..., external_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., remove_metadata_keys: _Optional[_Iterable[str]] = ..., replace_metadata: bool = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateContactMethodResponse(_message.Message):
    __slots__ = ("contact_method", "demoted_ids")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteContactMethodRequest(_message.Message):
    __slots__ = ("id", "allow_missing", "on_primary", "etag", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    ON_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    allow_missing: bool
    on_primary: PrimaryDeletePolicy
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., allow_missing: bool = ..., on_primary: _Optional[_Union[PrimaryDeletePolicy, str]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteContactMethodResponse(_message.Message):
    __slots__ = ("promoted_id",)
    PROMOTED_ID_FIELD_NUMBER: _ClassVar[int]
    promoted_id: str
    def __init__(self, promoted_id: _Optional[str] = ...) -> None: ...

class GetPrimaryContactMethodRequest(_message.Message):
    __slots__ = ("client_id", "type")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    type: ContactMethodType
    def __init__(self, client_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ...) -> None: ...

class GetPrimaryContactMethodResponse(_message.Message):
    __slots__ = ("contact_method",)
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class BatchCreateContactMethodsRequest(_message.Message):
    __slots__ = ("requests", "partial", "request_id")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CreateContactMethodRequest]
    partial: bool
    request_id: str
    def __init__(self, requests: _Optional[_Iterable[_Union[CreateContactMethodRequest, _Mapping]]] = ..., partial: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateContactMethodsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchCreateContactMethodsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchCreateContactMethodsResult, _Mapping]]] = ...) -> None: ...

class BatchCreateContactMethodsResult(_message.Message):
    __slots__ = ("contact_method", "error", "demoted_ids")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    error: BatchError
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., error: _Optional[_Union[BatchError, _Mapping]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchUpdateContactMethodsRequest(_message.Message):
    __slots__ = ("requests", "partial", "request_id")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[UpdateContactMethodRequest]
    partial: bool
    request_id: str
    def __init__(self, requests: _Optional[_Iterable[_Union[UpdateContactMethodRequest, _Mapping]]] = ..., partial: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchUpdateContactMethodsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchUpdateContactMethodsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchUpdateContactMethodsResult, _Mapping]]] = ...) -> None: ...

class BatchUpdateContactMethodsResult(_message.Message):
    __slots__ = ("contact_method", "error", "demoted_ids")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    error: BatchError
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., error: _Optional[_Union[BatchError, _Mapping]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchDeleteContactMethodsRequest(_message.Message):
    __slots__ = ("ids", "partial", "request_id")
    IDS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    partial: bool
    request_id: str
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., partial: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchDeleteContactMethodsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchDeleteContactMethodsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchDeleteContactMethodsResult, _Mapping]]] = ...) -> None: ...

class BatchDeleteContactMethodsResult(_message.Message):
    __slots__ = ("deleted_id", "error")
    DELETED_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    deleted_id: str
    error: BatchError
    def __init__(self, deleted_id: _Optional[str] = ..., error: _Optional[_Union[BatchError, _Mapping]] = ...) -> None: ...

class BatchGetContactMethodsRequest(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchGetContactMethodsResponse(_message.Message):
    __slots__ = ("contact_methods", "missing_ids")
    CONTACT_METHODS_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_methods: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_methods: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., missing_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class UpsertContactMethodRequest(_message.Message):
    __slots__ = ("external_id", "client_id", "type", "value", "label", "is_primary", "metadata", "etag", "request_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    client_id: str
    type: ContactMethodType
    value: str
    label: str
    is_primary: bool
    metadata: _containers.ScalarMap[str, str]
    etag: str
    request_id: str
    def __init__(self, external_id: _Optional[str] = ..., client_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., value: _Optional[str] = ..., label: _Optional[str] = ..., is_primary: bool = ..., metadata: _Optional[_Mapping[str, str]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpsertContactMethodResponse(_message.Message):
    __slots__ = ("contact_method", "action", "demoted_ids")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    action: UpsertAction
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., action: _Optional[_Union[UpsertAction, str]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchUpsertContactMethodsRequest(_message.Message):
    __slots__ = ("requests", "partial", "request_id")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[UpsertContactMethodRequest]
    partial: bool
    request_id: str
    def __init__(self, requests: _Optional[_Iterable[_Union[UpsertContactMethodRequest, _Mapping]]] = ..., partial: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchUpsertContactMethodsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchUpsertContactMethodsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchUpsertContactMethodsResult, _Mapping]]] = ...) -> None: ...

class BatchUpsertContactMethodsResult(_message.Message):
    __slots__ = ("contact_method", "error", "demoted_ids", "action")
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    error: BatchError
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    action: UpsertAction
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ..., error: _Optional[_Union[BatchError, _Mapping]] = ..., demoted_ids: _Optional[_Iterable[str]] = ..., action: _Optional[_Union[UpsertAction, str]] = ...) -> None: ...

class SyncClientContactMethodsRequest(_message.Message):
    __slots__ = ("client_id", "items", "replace", "allow_empty_replace", "request_id")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_EMPTY_REPLACE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    items: _containers.RepeatedCompositeFieldContainer[SyncItem]
    replace: bool
    allow_empty_replace: bool
    request_id: str
    def __init__(self, client_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[SyncItem, _Mapping]]] = ..., replace: bool = ..., allow_empty_replace: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class SyncItem(_message.Message):
    __slots__ = ("id", "external_id", "type", "value", "label", "is_primary", "metadata", "etag", "delete")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    id: str
    external_id: str
    type: ContactMethodType
    value: str
    label: str
    is_primary: bool
    metadata: _containers.ScalarMap[str, str]
    etag: str
    delete: bool
    def __init__(self, id: _Optional[str] = ..., external_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., value: _Optional[str] = ..., label: _Optional[str] = ..., is_primary: bool = ..., metadata: _Optional[_Mapping[str, str]] = ..., etag: _Optional[str] = ..., delete: bool = ...) -> None: ...

class SyncClientContactMethodsResponse(_message.Message):
    __slots__ = ("created", "updated", "unchanged", "deleted_ids", "demoted_ids")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    DELETED_IDS_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_IDS_FIELD_NUMBER: _ClassVar[int]
    created: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    updated: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    unchanged: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    deleted_ids: _containers.RepeatedScalarFieldContainer[str]
    demoted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, created: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., updated: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., unchanged: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., deleted_ids: _Optional[_Iterable[str]] = ..., demoted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamContactMethodsRequest(_message.Message):
    __slots__ = ("filter", "sort", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: ContactMethodFilter
    sort: _containers.RepeatedCompositeFieldContainer[ContactMethodSort]
    page_token: str
    def __init__(self, filter: _Optional[_Union[ContactMethodFilter, _Mapping]] = ..., sort: _Optional[_Iterable[_Union[ContactMethodSort, _Mapping]]] = ..., page_token: _Optional[str] = ...) -> None: ...

class StreamContactMethodsResponse(_message.Message):
    __slots__ = ("contact_methods", "next_page_token")
    CONTACT_METHODS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    contact_methods: _containers.RepeatedCompositeFieldContainer[ContactMethod]
    next_page_token: str
    def __init__(self, contact_methods: _Optional[_Iterable[_Union[ContactMethod, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class EraseClientContactMethodsRequest(_message.Message):
    __slots__ = ("client_id", "request_id")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    request_id: str
    def __init__(self, client_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class EraseClientContactMethodsResponse(_message.Message):
    __slots__ = ("erased_count",)
    ERASED_COUNT_FIELD_NUMBER: _ClassVar[int]
    erased_count: int
    def __init__(self, erased_count: _Optional[int] = ...) -> None: ...

class StartContactMethodVerificationRequest(_message.Message):
    __slots__ = ("id", "etag", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StartContactMethodVerificationResponse(_message.Message):
    __slots__ = ("code", "value", "type", "expires_at", "attempts_left", "sends_left", "contact_method")
    CODE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_LEFT_FIELD_NUMBER: _ClassVar[int]
    SENDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    code: str
    value: str
    type: ContactMethodType
    expires_at: _timestamp_pb2.Timestamp
    attempts_left: int
    sends_left: int
    contact_method: ContactMethod
    def __init__(self, code: _Optional[str] = ..., value: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts_left: _Optional[int] = ..., sends_left: _Optional[int] = ..., contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class CheckContactMethodVerificationRequest(_message.Message):
    __slots__ = ("id", "code", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    code: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., code: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CheckContactMethodVerificationResponse(_message.Message):
    __slots__ = ("result", "attempts_left", "contact_method")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_LEFT_FIELD_NUMBER: _ClassVar[int]
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    result: VerificationResult
    attempts_left: int
    contact_method: ContactMethod
    def __init__(self, result: _Optional[_Union[VerificationResult, str]] = ..., attempts_left: _Optional[int] = ..., contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class SetContactMethodVerificationRequest(_message.Message):
    __slots__ = ("id", "verified", "value", "verified_at", "method", "etag", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    verified: bool
    value: str
    verified_at: _timestamp_pb2.Timestamp
    method: str
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., verified: bool = ..., value: _Optional[str] = ..., verified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., method: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetContactMethodVerificationResponse(_message.Message):
    __slots__ = ("contact_method",)
    CONTACT_METHOD_FIELD_NUMBER: _ClassVar[int]
    contact_method: ContactMethod
    def __init__(self, contact_method: _Optional[_Union[ContactMethod, _Mapping]] = ...) -> None: ...

class BatchError(_message.Message):
    __slots__ = ("code", "reason", "message", "field_violations", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field_violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field_violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ContactMethod(_message.Message):
    __slots__ = ("id", "client_id", "type", "value", "normalized_value", "label", "is_primary", "is_verified", "verified_at", "external_id", "metadata", "created_at", "updated_at", "etag", "verification_method")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    IS_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_METHOD_FIELD_NUMBER: _ClassVar[int]
    id: str
    client_id: str
    type: ContactMethodType
    value: str
    normalized_value: str
    label: str
    is_primary: bool
    is_verified: bool
    verified_at: _timestamp_pb2.Timestamp
    external_id: str
    metadata: _containers.ScalarMap[str, str]
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    etag: str
    verification_method: str
    def __init__(self, id: _Optional[str] = ..., client_id: _Optional[str] = ..., type: _Optional[_Union[ContactMethodType, str]] = ..., value: _Optional[str] = ..., normalized_value: _Optional[str] = ..., label: _Optional[str] = ..., is_primary: bool = ..., is_verified: bool = ..., verified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., external_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., verification_method: _Optional[str] = ...) -> None: ...

class ContactMethodFilter(_message.Message):
    __slots__ = ("ids", "client_ids", "types", "values", "value_contains", "is_primary", "is_verified", "external_ids", "labels", "metadata", "created_at_or_after", "created_before", "updated_at_or_after", "updated_before")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VALUE_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    IS_PRIMARY_FIELD_NUMBER: _ClassVar[int]
    IS_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_OR_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_OR_AFTER_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    client_ids: _containers.RepeatedScalarFieldContainer[str]
    types: _containers.RepeatedScalarFieldContainer[ContactMethodType]
    values: _containers.RepeatedScalarFieldContainer[str]
    value_contains: str
    is_primary: bool
    is_verified: bool
    external_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    created_at_or_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    updated_at_or_after: _timestamp_pb2.Timestamp
    updated_before: _timestamp_pb2.Timestamp
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., client_ids: _Optional[_Iterable[str]] = ..., types: _Optional[_Iterable[_Union[ContactMethodType, str]]] = ..., values: _Optional[_Iterable[str]] = ..., value_contains: _Optional[str] = ..., is_primary: bool = ..., is_verified: bool = ..., external_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., created_at_or_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at_or_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ContactMethodSort(_message.Message):
    __slots__ = ("field", "descending")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    field: ContactMethodSortField
    descending: bool
    def __init__(self, field: _Optional[_Union[ContactMethodSortField, str]] = ..., descending: bool = ...) -> None: ...
