"""fastconv in the place of other libraries: one module for each, imported by its name."""
