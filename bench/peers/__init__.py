"""The contestants: fastconv in its forms, and every library it is compared with.

A new peer is one file with a subclass of ``Peer`` and one line below.
"""

from .fastconv import Fastconv, FastconvBiasRelu, FastconvPacked, FastconvTuned
from .jax import Jax
from .ncnn import Ncnn
from .onnxruntime import Onnxruntime
from .opencv import OpenCV
from .openvino import OpenVINO
from .peer import Peer, Prepared
from .scipy import SciPy
from .torch import Torch

OWN: tuple[Peer, ...] = (Fastconv(), FastconvPacked(), FastconvTuned(), FastconvBiasRelu())
"""The first is what all others are compared with."""

PEERS: tuple[Peer, ...] = (
    Torch(),
    Torch(other_layout=True),
    Onnxruntime(),
    OpenVINO(),
    Ncnn(),
    Jax(),
    SciPy(),
    OpenCV(),
)

__all__ = ["OWN", "PEERS", "Peer", "Prepared"]
