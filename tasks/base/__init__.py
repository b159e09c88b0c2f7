"""The ground: errors, files, processes, progress, names of files. It knows nothing of clusters."""
