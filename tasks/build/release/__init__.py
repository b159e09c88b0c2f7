"""Releases, what differs between them, and their bill of materials."""
