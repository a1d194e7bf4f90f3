"""cuDNN's convolutions, where it is installed."""

from .algorithm import Cudnn, CudnnTf32

ALGORITHMS = (Cudnn(), CudnnTf32())
