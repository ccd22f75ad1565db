"""What the service is for: the tasks of one user."""
