"""What the specifications say, as values and pure functions; nothing here does I/O."""
