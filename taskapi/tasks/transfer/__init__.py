"""Export, import and erasure of all data of a user."""
