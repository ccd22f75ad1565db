"""Statistics: the number of tasks of each kind."""
