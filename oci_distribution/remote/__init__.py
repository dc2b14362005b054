"""A registry, spoken to."""
