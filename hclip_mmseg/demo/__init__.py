"""Asking a model for names in a browser."""
