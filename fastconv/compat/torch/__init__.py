"""PyTorch on the CPU with its convolutions and pooling by fastconv, over the memory of its tensors, without copies.

``accelerate(model)`` changes one model, ``install()``, or ``with installed():``, all of torch in this process.

``modules`` has the classes of an accelerated model, ``override`` aten's kernels; both compute by ``convolution`` and
``pooling``, which take tensors and leave what fastconv does not take to torch. ``functions`` differentiates.
"""

from .modules import accelerate, restore
from .override import install, installed, uninstall

__all__ = ["accelerate", "install", "installed", "restore", "uninstall"]
