"""From what users write to ConvProblem and canonical arrays. The only place that raises on user input."""
