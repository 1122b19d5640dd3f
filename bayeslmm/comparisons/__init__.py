"""Relations between fits."""
