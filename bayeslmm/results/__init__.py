"""What came out: names on numbers, the verbs users call."""
