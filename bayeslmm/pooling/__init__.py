"""No, complete and partial pooling side by side."""
