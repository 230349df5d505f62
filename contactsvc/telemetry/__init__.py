"""Logs, metrics and traces, and what they are told of a call."""
