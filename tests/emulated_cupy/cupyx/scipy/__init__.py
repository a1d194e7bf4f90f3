"""``cupyx.scipy``: SciPy's functions on device arrays."""
