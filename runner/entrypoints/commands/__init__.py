"""A module per command: words in, the core called, the answer shown."""
