"""contactsvc: an asynchronous gRPC service that stores the contact methods of clients in MongoDB.

Every command runs this file: import nothing here.
"""

__version__ = "0.2.0"
