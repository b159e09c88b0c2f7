"""What connects nodes. It knows nothing of QEMU."""
