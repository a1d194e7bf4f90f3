"""Pooling: windows of CuPy arrays reduced to one element each."""
