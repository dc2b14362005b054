"""Requests to hosts: the engine, and the sender that every request goes through."""
