"""How a worker shares its time: slots, lanes, native threads, yields, lookups with a time limit."""
