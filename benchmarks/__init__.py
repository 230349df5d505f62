"""Measures contactsvc against a bare echo and against plain services over the same data; `python -m benchmarks`.

Each server runs in a process of its own, as does the load generator; see README.md.
"""
