"""What can go wrong around the service, made to go wrong."""
