"""Data beside data sets that the model simulates."""
