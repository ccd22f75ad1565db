"""Concurrency within a worker: request slots, FIFO semaphores (lanes), native threads, yields, DNS timeout."""
