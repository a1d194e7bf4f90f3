"""Pooling: windows of NumPy arrays reduced to one element each."""
