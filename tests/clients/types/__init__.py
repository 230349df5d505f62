"""Calls of the Python client for type checkers."""
