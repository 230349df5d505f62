"""The error for a value that does not fit its type."""

from __future__ import annotations


class InvalidValue(ValueError):
    """The value does not fit its type.

    The message completes the sentence "the field …": it states the rule and what would be right, and never quotes the
    value. Code points are named (`U+200B`), since an invisible character cannot be found otherwise.
    """
