"""Strict marshmallow fields."""
