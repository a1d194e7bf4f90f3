"""Minimal filtering: small kernels by fewer multiplications."""
