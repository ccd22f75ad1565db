"""Endpoints and jobs for operators: health, the daily purge."""
