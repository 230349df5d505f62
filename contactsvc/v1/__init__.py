"""The generated stubs, by the name of their proto package; the distribution contactsvc-client has them.

`contact_methods.binpb` is the descriptor of the proto with its comments, written by `make protos`.
"""
