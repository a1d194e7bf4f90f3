"""Networks on plain arrays: layers with explicit forward and backward, over the public functions of fastconv.

Names, arguments, defaults and state dicts are those of ``torch.nn``. Start with ``Sequential`` and the layers.
"""

from __future__ import annotations

from .containers import Concatenate, Identity, Residual, Sequential
from .module import Composite, Module, gradients
from .parameter import Buffer, Parameter
