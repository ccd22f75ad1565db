"""Endpoints and jobs for operators: /healthz, /readyz, the daily purge."""
