"""Quirks: what real registries do otherwise than the specification says, one function each."""
