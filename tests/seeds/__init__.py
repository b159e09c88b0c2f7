"""What xcluster's own documents tell a reader to type, and what comes of it here."""
