"""SQL statements that write tasks and counters, and what every statement on tasks shares."""
