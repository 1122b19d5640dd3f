"""Models of tables that do not fit into memory: two passes over chunks of rows, of which sums are kept."""
