"""Compiled networks: a graph of operators, made simpler, with its memory planned beforehand."""
