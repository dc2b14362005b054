"""Content at rest: what a store is, sources that can be opened again, a store in memory and one on disk."""
