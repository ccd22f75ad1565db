"""Benchmark: CPU per request of the service, of a minimal WSGI application and of comparable stacks (`make bench`)."""
