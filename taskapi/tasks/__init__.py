"""The tasks of a user: the six endpoints of a task and the list, and a package for each further capability."""
