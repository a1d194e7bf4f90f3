"""The choice of an algorithm: forced, tuned, or estimated; the tuner, and the file that keeps what it measured."""
