"""Contact methods and their rules: pure, no I/O, no gRPC, no MongoDB."""
