"""Coalescing: concurrent calls executed by common database commands."""
