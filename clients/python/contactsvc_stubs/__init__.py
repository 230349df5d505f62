"""Generated code of contactsvc's protos, for its client and its service."""
