"""The stub and the servicer of protos/contactsvc/v1/contact_methods.proto."""

from contactsvc_stubs.v1.contact_methods_pb2_grpc import *
