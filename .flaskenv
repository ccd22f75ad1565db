# Development defaults, read by the `flask` command only, not by gunicorn. Variables that are already set in the shell
# take precedence.
FLASK_APP=wsgi.py
FLASK_RUN_PORT=8000
BETTER_AUTH_SECRET=taskapi-development-secret-never-use-in-production
CORS_ORIGINS=http://localhost:3000,http://127.0.0.1:3000
