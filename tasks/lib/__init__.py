"""Building blocks that know nothing of the nouns in `tasks`."""
