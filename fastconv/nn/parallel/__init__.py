"""Data parallel training: each rank of MPI trains on its part of the data, and all take the same steps.

Arrays of NumPy go from rank to rank by MPI, those of CuPy by NCCL. A program for
``mpirun -n 4 python train.py``::

    from fastconv import nn

    model = ...
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with nn.parallel.DataParallel(model, optimizer, checkpoint="train.safetensors") as ranks:
        data = ranks.share(nn.Batches(x, target, batch_size=64, shuffle=True))
        nn.fit(model, data, nn.CrossEntropyLoss(), optimizer, callbacks=[ranks], progress=ranks.rank == 0)
"""

from __future__ import annotations

from .data_parallel import DataParallel
from .ranks import local_rank, rank, shard, size

__all__ = ["DataParallel", "local_rank", "rank", "shard", "size"]
