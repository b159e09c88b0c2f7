"""All inputs together: lock, fetch, cache."""
