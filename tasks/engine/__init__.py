"""The only folder that imports doit."""
