"""One algorithm per file; _registry.py lists them."""
