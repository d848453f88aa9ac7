"""Requests: polite, bounded in time and bytes, and never anywhere they must not go."""
