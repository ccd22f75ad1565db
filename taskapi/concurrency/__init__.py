"""Concurrency within a worker: request slots, lanes that serve users in turn, native threads, yields, DNS timeout."""
