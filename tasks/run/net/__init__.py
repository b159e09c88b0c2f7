"""The nets that connect nodes. Nothing here depends on QEMU."""
