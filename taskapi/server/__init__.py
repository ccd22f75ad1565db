"""gunicorn worker, HTTP parser and response writer, access log, and server hooks."""
