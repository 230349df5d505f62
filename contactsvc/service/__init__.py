"""The use cases: what each operation does, in terms of the domain and of the store that it needs.

Imports neither gRPC nor MongoDB.
"""

from contactsvc.service.contact_methods import ContactMethods, Found, Synced
from contactsvc.service.ports import Store
from contactsvc.service.verifications import StartedVerification

__all__ = ["ContactMethods", "Found", "StartedVerification", "Store", "Synced"]
