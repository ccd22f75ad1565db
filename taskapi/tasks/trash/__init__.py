"""Delete tasks in two steps, into the trash and permanently, and restore them."""
