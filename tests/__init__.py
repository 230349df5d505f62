"""The test suite.

This file runs before anything imports gRPC, which reads its settings once.
"""

import os

# Without it, gRPC logs every connection that a server under test closes on purpose.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
