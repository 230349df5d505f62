"""Contact methods and API keys in MongoDB: the only package that knows motor, pymongo and bson.

Other packages import from here, never from a module inside. `connect` opens a deployment, which opens one `MongoStore`
per environment (the `Store` of service/ports.py) and the store of the API keys. `inspection_of` and `repairs_of` give
doctor a database as it is. What describes the stored data (collection, layout, documents, indexes) serves tools that
read or write MongoDB directly.
"""

from contactsvc.store.deployment import COLLECTION, STANDALONE_WARNING, Deployment, connect
from contactsvc.store.documents import from_document, to_document
from contactsvc.store.driver_errors import refusals_translated
from contactsvc.store.drivers import DRIVERS, Collection, Document, Driver
from contactsvc.store.duplicates import MAX_GROUP_IDS, DuplicateGroup
from contactsvc.store.index_inspection import IndexState, InspectedIndex
from contactsvc.store.indexes import INDEXES, ensure_indexes
from contactsvc.store.inspection import InspectedDocument, Inspection, inspection_of
from contactsvc.store.keys import MongoKeyStore
from contactsvc.store.layouts import SCHEMA_VERSION, UnreadableDocument
from contactsvc.store.migrations import READABLE
from contactsvc.store.repairs import Repairs, repairs_of
from contactsvc.store.store import MongoStore
from contactsvc.store.telemetry import DatabaseTelemetry

__all__ = [
    "COLLECTION",
    "DRIVERS",
    "INDEXES",
    "MAX_GROUP_IDS",
    "READABLE",
    "SCHEMA_VERSION",
    "STANDALONE_WARNING",
    "Collection",
    "DatabaseTelemetry",
    "Deployment",
    "Document",
    "Driver",
    "DuplicateGroup",
    "IndexState",
    "InspectedDocument",
    "InspectedIndex",
    "Inspection",
    "MongoKeyStore",
    "MongoStore",
    "Repairs",
    "UnreadableDocument",
    "connect",
    "ensure_indexes",
    "from_document",
    "inspection_of",
    "refusals_translated",
    "repairs_of",
    "to_document",
]
