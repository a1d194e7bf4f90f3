"""Compiled networks: a graph of operators, made simpler, with its memory planned beforehand."""

from __future__ import annotations

from .compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
