"""``cupyx``: what CuPy has beyond NumPy."""
