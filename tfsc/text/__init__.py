"""The small language of component texts."""
