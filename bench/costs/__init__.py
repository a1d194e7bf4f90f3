"""What the cost models are fitted to and judged by: realistic problems, times of every algorithm, the fit."""
