"""Looking into networks: filters, what layers make of an image, what answers depend on, and how to fool them.

The functions return arrays, NumPy's or CuPy's as the network's are. They compute in evaluation mode, and leave the
network's mode and the gradients of its parameters as they are.
"""

from __future__ import annotations

from .adversarial import AdversarialBatches, adversarial_step, fgsm, pgd
from .answers import feature_maps, grad_cam, logit_gradient, saliency
from .pictures import filters, sheet

__all__ = [
    "AdversarialBatches",
    "adversarial_step",
    "feature_maps",
    "fgsm",
    "filters",
    "grad_cam",
    "logit_gradient",
    "pgd",
    "saliency",
    "sheet",
]
