"""Idempotency keys: a request that is delivered twice is carried out once, and answered the same both times."""
