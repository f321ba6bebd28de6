"""The model families. Each registers itself: see registry.py."""
