"""The gunicorn worker, its HTTP parser and writer, and its access log."""
