"""Looks at, and disturbs, what runs."""
