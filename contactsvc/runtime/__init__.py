"""Processes: server, supervisor and workers, embedded database."""
