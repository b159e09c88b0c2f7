"""ovl:NAME, and the overlay ISO."""
