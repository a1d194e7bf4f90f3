"""aten's own convolutions and pooling of CPU tensors, computed by fastconv for all of torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from . import pooling
from .convolution import convolve, gradients
from .threads import share_threads

Kernel = Callable[..., Any]


def _convolution_backward(dy: Any, x: Any, w: Any, bias_sizes: Any, *others: Any) -> Any:
    return gradients(dy, x, w, *others)


KERNELS: dict[str, Kernel] = {"convolution": convolve, "convolution_backward": _convolution_backward}
for _axes in (2, 3):
    for _kind in (pooling.MAX, pooling.AVG, pooling.ADAPTIVE_AVG, pooling.ADAPTIVE_MAX):
        KERNELS[_kind.name.format(_axes)] = partial(_kind.forward, _axes)
        KERNELS[_kind.name_of_gradient.format(_axes)] = partial(_kind.backward, _axes)

_lock = threading.Lock()
_library: torch.library.Library | None = None


def _kernel(name: str, compute: Kernel) -> Kernel:
    """``compute``, and where it leaves a call to torch, what torch had for it."""
    own = torch.library.get_kernel(f"aten::{name}", "CPU")

    def kernel(keyset: Any, *arguments: Any) -> Any:
        found = compute(*arguments)
        return own.call_boxed(keyset, *arguments) if found is None else found

    return kernel


def install() -> None:
    """Have fastconv compute aten's convolutions and pooling of CPU tensors, in all of this process.

    Their gradients too; what is built on them, as autograd, double backward, ``torch.func``, ``torch.compile`` and
    ``torch.export``, stays torch's. Calls that fastconv does not take, and errors, are torch's as before. Installing
    twice is installing once.

    Examples
    --------
    >>> import torch, fastconv.compat.torch as compat
    >>> x, w = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)
    >>> compat.install()
    >>> y = torch.nn.functional.conv2d(x, w)
    >>> compat.uninstall()
    >>> torch.allclose(y, torch.nn.functional.conv2d(x, w), atol=1e-4)
    True
    """
    global _library
    with _lock:
        if _library is None:
            library = torch.library.Library("aten", "IMPL")
            for name, compute in KERNELS.items():
                library.impl(name, _kernel(name, compute), "CPU", with_keyset=True, allow_override=True)
            _library = library
    share_threads()


def uninstall() -> None:
    """Give aten's convolutions and pooling back to torch. Without ``install`` before, nothing happens."""
    global _library
    with _lock:
        if _library is not None:
            _library._destroy()
            _library = None


@contextmanager
def installed() -> Iterator[None]:
    """``install()`` for a ``with`` block, in all threads; a surrounding one, or ``install()``, holds on after it.

    Examples
    --------
    >>> import torch, fastconv.compat.torch as compat
    >>> with compat.installed():
    ...     torch.nn.functional.max_pool2d(torch.ones(1, 1, 4, 4), 2).shape
    torch.Size([1, 1, 2, 2])
    """
    was_installed = _library is not None
    install()
    try:
        yield
    finally:
        if not was_installed:
            uninstall()
