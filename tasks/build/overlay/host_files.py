"""How a word that a `tar` script asks tells the build which files of the host it took."""

HOST_FILES = "XC_HOST_FILES"  # names a file that takes their paths; in the environment of the script
