"""Who is asking: a Bearer token in, a `User` or a named refusal out."""
