"""HTTP: what every endpoint shares: reading requests, writing responses, errors, CORS."""
