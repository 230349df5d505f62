"""The use cases: what each operation does, in terms of the domain and of the store that it needs.

Knows neither gRPC nor MongoDB.
"""

from contactsvc.service.contact_methods import ContactMethods, Deleted, Found, Outcome, Synced, Written
from contactsvc.service.ports import Store

__all__ = ["ContactMethods", "Deleted", "Found", "Outcome", "Store", "Synced", "Written"]
