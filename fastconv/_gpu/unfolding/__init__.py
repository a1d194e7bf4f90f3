"""Unfolding: the sliding blocks of CuPy arrays as columns, and their sums."""
