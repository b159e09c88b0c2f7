"""What comes from outside: Debian packages, downloads, Go modules."""
