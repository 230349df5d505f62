"""Generated from protos/contactsvc/v1 by `make protos`; never edited by hand."""
