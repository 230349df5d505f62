"""contactsvc: an asynchronous gRPC service that stores contact methods of clients in MongoDB.

Importing the generated stubs runs this file, and the Python client imports the stubs: so nothing heavy may be imported
here.
"""

__version__ = "0.1.0"
