"""Settings: read once from the environment, validated, and frozen."""
