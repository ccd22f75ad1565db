"""What runs before every view: token, path user, body, rate limit."""
