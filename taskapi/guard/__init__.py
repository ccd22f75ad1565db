"""What runs before every view: token, path user, rate limit, body."""
