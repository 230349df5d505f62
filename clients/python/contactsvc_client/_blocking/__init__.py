# Generated from _async/__init__.py by `make protos`; never edited by hand.
"""The blocking client."""
