"""Pooling on the GPU: maxima with their places, averages, and their gradients, which gather."""
