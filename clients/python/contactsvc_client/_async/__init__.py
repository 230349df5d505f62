"""The asynchronous client; the blocking client is generated from it."""
