"""One room an algorithm, as under ``_cpu/algorithms``; the list of them is ``_gpu/registry.py``."""
