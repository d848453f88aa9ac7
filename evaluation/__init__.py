"""Metrics as plain functions over arrays, and the judges that feed them."""
