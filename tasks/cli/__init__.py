"""The doors: no work is done here."""
