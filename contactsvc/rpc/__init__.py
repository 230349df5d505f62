"""All that knows gRPC: the pipeline around every call, the RPCs, and their messages."""
