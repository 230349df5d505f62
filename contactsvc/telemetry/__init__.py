"""Logs, metrics and traces, and the call report that they receive. Imports no rpc."""
