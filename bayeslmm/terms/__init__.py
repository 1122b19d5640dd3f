"""Random terms of a model: what each adds to a row, and what users may call it."""
