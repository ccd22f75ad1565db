"""Batch: up to 100 operations in one request and one transaction."""
