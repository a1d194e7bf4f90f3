"""Networks on plain arrays: layers with explicit forward and backward, over the public functions of fastconv.

Names, arguments, defaults and state dicts are those of ``torch.nn``. Start with ``Sequential`` and the layers.
"""

from __future__ import annotations

from . import looking, networks, parallel
from .activation import (
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .augmentation import Compose, RandomAffine, RandomCrop, RandomFlip, RandomNoise, RandomRotation, RandomScale
from .checkpoint import load, load_checkpoint, save, save_checkpoint
from .clipping import L1, L2, clip_grad_norm_, clip_grad_value_
from .containers import Add, Concatenate, Identity, Multiply, Residual, Sequential
from .convolution import (
    CausalConv1d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    SeparableConv1d,
    SeparableConv2d,
    SeparableConv3d,
)
from .data import Batches
from .dropout import Dropout, Dropout1d, Dropout2d, Dropout3d, StochasticDepth
from .embedding import Embedding
from .evaluation import accuracy, evaluate, predict
from .generator import seed
from .history import History
from .inference import Compiled, compile
from .linear import Flatten, Linear, Permute
from .losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, Loss, MSELoss, SmoothL1Loss
from .module import Composite, Module, gradients
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, LayerNorm, LayerNorm2d
from .onnx import load_onnx
from .optimizers import SGD, Adam, AdamW, Optimizer
from .parameter import Buffer, Parameter
from .pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from .precision import MixedPrecision
from .receptive_field import receptive_field
from .recomputed import Recomputed
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
from .squeeze_excite import SqueezeExcite
from .training import Callback, Training, fit
from .upsample import Upsample
