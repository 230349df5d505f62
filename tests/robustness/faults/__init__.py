"""Fault injection: processes, networks, database commands, disk and clock."""
