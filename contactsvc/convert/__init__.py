"""Protobuf <-> domain: requests.py reads what callers send, responses.py writes what they get."""
