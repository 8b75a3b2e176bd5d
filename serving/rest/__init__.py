"""REST: HTTP connections, the bodies of requests and responses, and the API."""
