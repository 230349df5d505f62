"""Calls that arrive together, answered by one database command."""
