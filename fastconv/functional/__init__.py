"""Convolutions of all kinds, forward and backward: what users call, one family per module."""
