"""Idempotency keys: execute a repeated request once and return the stored response of the first execution."""
