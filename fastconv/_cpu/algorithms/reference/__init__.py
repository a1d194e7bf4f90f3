"""The definition as plain loops: what all else is compared with."""
