"""List tasks: filters, sort orders, substring search, pagination cursors and size-limited pages."""
