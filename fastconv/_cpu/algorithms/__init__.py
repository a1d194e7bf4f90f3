"""A room per algorithm, or per few that share kernels; registry.py lists them."""
