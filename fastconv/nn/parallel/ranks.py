"""Ranks, and what they send each other: by MPI, and by NCCL where arrays lie on GPUs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..parameter import Tensor, array_module

Array = Any


def mpi() -> Any:
    """mpi4py's ``MPI``, which is initialised when it is first imported."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            'nn.parallel wants mpi4py and an MPI library: pip install "fastconv[mpi]", and on Debian '
            f"apt-get install openmpi-bin ({error})"
        ) from error
    return MPI


def rank() -> int:
    """The number of this process, from 0.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.parallel.rank() < nn.parallel.size()  # doctest: +SKIP
    True
    """
    return int(mpi().COMM_WORLD.rank)


def size() -> int:
    """How many processes there are."""
    return int(mpi().COMM_WORLD.size)


def local_rank() -> int:
    """The number of this process among those of its machine: that of its GPU, as in ``cupy.cuda.Device(n).use()``."""
    MPI = mpi()
    neighbours = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        return int(neighbours.rank)
    finally:
        neighbours.Free()


def shard(*arrays: Array) -> Any:
    """This rank's part of arrays: every so many-th of their elements, and as many as each other rank has.

    Parameters
    ----------
    *arrays : array
        Of one length, also memory maps; what is over when all ranks have as many is left out.

    Returns
    -------
    array, or tuple of arrays
        Views.
    """
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(f"arrays: their lengths are {[len(array) for array in arrays]}; one length is wanted")
    each = lengths.pop() // size()
    if not each:
        raise ValueError(f"arrays: got {len(arrays[0])} elements for {size()} ranks; one or more for each is wanted")
    parts = tuple(array[rank() :: size()][:each] for array in arrays)
    return parts[0] if len(parts) == 1 else parts


class HostLinks:
    """Sums over all ranks of arrays of NumPy, by MPI."""

    def __init__(self) -> None:
        self._mpi = mpi()
        self._world = self._mpi.COMM_WORLD.Dup()

    def start_sum(self, flat: Array) -> Any:
        """Begin to replace the array by its sum over the ranks."""
        return self._world.Iallreduce(self._mpi.IN_PLACE, flat)

    def is_done(self, request: Any) -> bool:
        """Whether a sum is there; to ask brings it forward."""
        return bool(request.Test())

    def broadcast(self, flat: Array) -> None:
        """Replace bytes by those of rank 0."""
        self._world.Bcast([flat, self._mpi.BYTE])

    def close(self) -> None:
        self._world.Free()


class DeviceLinks:
    """Sums over all ranks of arrays of CuPy, by NCCL, on a stream of their own; MPI brings the ranks together."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._nccl = importlib.import_module(f"{cupy.__name__}x.distributed").init_process_group(
            size(), rank(), use_mpi=True
        )
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def start_sum(self, flat: Array) -> Any:
        """Begin to replace the array by its sum over the ranks, once what computes it is done."""
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        self._nccl.all_reduce(flat, flat, "sum", self._stream)
        return self._stream.record()

    def is_done(self, event: Any) -> bool:
        """Whether a sum is there."""
        return bool(event.done)

    def broadcast(self, flat: Array) -> None:
        """Replace bytes by those of rank 0."""
        self._nccl.broadcast(flat, 0)

    def close(self) -> None:
        stop = getattr(self._nccl, "stop", None)
        if stop is not None:
            stop()


Links = HostLinks | DeviceLinks


def links_for(tensors: Sequence[Tensor]) -> Links:
    """What sums arrays of this kind."""
    module = array_module(tensors[0].data)
    return HostLinks() if module is np else DeviceLinks(module)


def broadcast(links: Links, tensors: Sequence[Tensor]) -> None:
    """Give all ranks the numbers of rank 0."""
    for tensor in tensors:
        module = array_module(tensor.data)
        flat = module.array(tensor.data, order="C", copy=True).reshape(-1)
        if flat.size:
            links.broadcast(flat.view(np.uint8))
            tensor.data[...] = flat.reshape(tensor.shape)


def check_alike(tensors: Sequence[tuple[str, Tensor]]) -> None:
    """Raise ValueError, on all ranks, where one has another network."""
    world = mpi().COMM_WORLD
    own = [(name, tensor.shape, str(tensor.dtype)) for name, tensor in tensors]
    for number, other in enumerate(world.allgather(own)):
        first = world.bcast(own)
        if other != first:
            pairs = [pair for pair in zip(first, other, strict=False) if pair[0] != pair[1]]
            what = (
                f"{pairs[0][1]} in the place of {pairs[0][0]}" if pairs else f"{len(other)} tensors, not {len(first)}"
            )
            raise ValueError(f"model: rank {number} has another network than rank 0: {what}")
