"""The only folder that knows doit."""
