"""Who asks, and for what: scopes, challenges, credentials, tokens."""
