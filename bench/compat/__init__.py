"""Adapters of ``fastconv.compat`` beside the libraries that they are for."""
