"""The delta feed."""
