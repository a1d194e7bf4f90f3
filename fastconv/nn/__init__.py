"""Networks on plain arrays: layers with explicit forward and backward, over the public functions of fastconv.

Names, arguments, defaults and state dicts are those of ``torch.nn``. Start with ``Sequential`` and the layers.
"""

from __future__ import annotations

from .activation import GELU, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Tanh
from .augmentation import Compose, RandomAffine, RandomCrop, RandomFlip, RandomNoise, RandomRotation, RandomScale
from .checkpoint import load, load_checkpoint, save, save_checkpoint
from .clipping import L1, L2, clip_grad_norm_, clip_grad_value_
from .containers import Concatenate, Identity, Residual, Sequential
from .data import Batches
from .generator import seed
from .history import History
from .losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, Loss, MSELoss, SmoothL1Loss
from .module import Composite, Module, gradients
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, LayerNorm, LayerNorm2d
from .optimizers import SGD, Adam, AdamW, Optimizer
from .parameter import Buffer, Parameter
from .precision import MixedPrecision
from .schedules import (
    CosineAnnealingLR,
    EarlyStopping,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    warmup_cosine,
)
from .training import Callback, Training, accuracy, evaluate, fit, predict
