"""The list of tasks: selection, cursors, pages."""
