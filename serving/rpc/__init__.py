"""gRPC: the services that answer its calls."""
