"""Copying graphs of content between stores."""
