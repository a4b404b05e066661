"""Exported models: what is written, checked and read back."""
