"""Estimates of time: counts of what a problem takes, weighted by coefficients that were fitted to measurements.

    seconds = sum over counts of  coefficient * count * seconds of the count's unit

A count is a number of multiply-adds, of bytes in the caches (``*_bytes``) or beyond them (``*beyond*_bytes``), or of
fixed costs (``*_steps``); the units' seconds are the constants of a ``Machine``. ``counts.py`` has what all algorithms
share, ``cost.py`` of a room what its algorithm adds, ``<ISA level>.json`` the coefficients, which ``python -m bench
fit`` writes; nobody edits them.
"""
