"""Recurring tasks: rules, due dates, series."""
