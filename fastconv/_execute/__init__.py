"""Normalised calls, planned and handed to the backend."""
