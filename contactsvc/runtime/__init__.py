"""Processes: the server and its life, the supervisor of several, and the embedded database."""
