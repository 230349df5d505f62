"""contactsvc: an asynchronous gRPC service that stores the contact methods of clients in MongoDB.

Importing the generated stubs runs this file, and the Python client imports the stubs: import nothing heavy here.
"""

__version__ = "0.1.0"
