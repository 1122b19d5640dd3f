"""Text -> terms and expressions: what a formula may hold and what its words are worth in data."""
