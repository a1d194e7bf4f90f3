"""Loops over single elements: casts of 16-bit floats, sums over channels."""
