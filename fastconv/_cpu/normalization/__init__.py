"""Normalizations by the statistics of sets of elements, and activations of whole arrays."""
