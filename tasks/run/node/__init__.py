"""The machines that nodes run as. Nets are known here only as NICs."""
