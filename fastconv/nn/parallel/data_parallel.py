"""DataParallel: gradients are averaged over the ranks while backward goes on, and no rank outlives another."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from ..checkpoint import load_checkpoint, save_checkpoint
from ..data import Batches
from ..module import Module
from ..optimizers import Optimizer
from ..parameter import Buffer, Parameter
from ..training import Callback, Training
from .buckets import Bucket, Statistics, buckets_of
from .ranks import broadcast, check_alike, links_for, mpi

ENDED = 1
"""The tag of the message that a rank sends when it has ended."""
BUSY_LOOKS = 1000
"""At what other ranks send, before this one sleeps between them."""


class DataParallel(Callback):
    """Trains one network on several ranks: a context, and a callback of ``nn.fit``.

    Entered, it gives all ranks the parameters and buffers of rank 0. Then gradients are averaged over the ranks, in
    buckets that are sent as soon as backward has filled them, so that every rank takes the same step: that of one
    process with all of the data, but for the order in which gradients are summed. The parameters of all ranks stay
    equal to the bit.

    Batch normalization uses the statistics of each rank's own part of a batch. The running statistics become their
    mean over the ranks in every step; the running variance lacks that between the means of the parts.

    A rank that raises or dies ends all of them: each that can writes ``checkpoint`` with the state after the last
    finished step, and says so. ``mpirun`` gives it a second between its request to end and the end: for more, start it
    with ``--mca odls_base_sigkill_timeout 30``, or have ``checkpoint_every``.

    On CuPy's arrays choose the device before the network is made: ``cupy.cuda.Device(nn.parallel.local_rank()).use()``.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer, optional
        Its state is a part of the checkpoint.
    checkpoint : path, optional
        Written when a rank raises or dies, and every so many steps.
    checkpoint_every : int, optional
        Steps from one checkpoint to the next; default: only that of a training that fails.
    reduction : {"mean", "sum"}, default "mean"
        That of the loss.
    bucket_bytes : int, default 4 MiB
        How much is sent in one go.

    Attributes
    ----------
    rank, size : int
        The number of this rank, and that of all.
    steps : int
        Those that are finished.

    Examples
    --------
    >>> with nn.parallel.DataParallel(model, optimizer) as ranks:  # doctest: +SKIP
    ...     for x, target in ranks.share(batches):
    ...         model.zero_grad()
    ...         loss(model(x), target)
    ...         model.backward(loss.backward(), wants_dx=False)
    ...         ranks.step()
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        reduction: str = "mean",
        bucket_bytes: int = 4 << 20,
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction: got {reduction!r}; allowed: 'mean' or 'sum'")
        if bucket_bytes < 1:
            raise ValueError(f"bucket_bytes: got {bucket_bytes!r}; allowed: 1 or more")
        if checkpoint_every is not None and (checkpoint_every < 1 or checkpoint is None):
            raise ValueError(f"checkpoint_every: got {checkpoint_every!r}; allowed: 1 or more, and with a checkpoint")
        self.model, self.optimizer = model, optimizer
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.reduction, self.bucket_bytes = reduction, bucket_bytes
        world = mpi().COMM_WORLD
        self.rank, self.size, self.steps = int(world.rank), int(world.size), 0
        self._weight = 1.0
        self._holds = self._is_moving = self._should_end = False

    # From the first step to the last.

    def __enter__(self) -> DataParallel:
        named = list(self.model.named_tensors())
        self._parameters = [tensor for _, tensor in named if isinstance(tensor, Parameter)]
        if any(parameter.when_ready is not None for parameter in self._parameters):
            raise ValueError(
                "model: somebody else waits for its gradients already; one DataParallel at a time is allowed"
            )
        if not self._parameters:
            raise ValueError("model: it has no parameters to train")
        check_alike(named)
        self._links = links_for(self._parameters)
        self._control = mpi().COMM_WORLD.Dup()
        broadcast(self._links, [tensor for _, tensor in named])
        self._statistics = Statistics([tensor for _, tensor in named if isinstance(tensor, Buffer)])
        self._ended: dict[int, int] = {}
        self._numbers = {id(parameter): number for number, parameter in enumerate(self._parameters)}
        self._calls = [0] * len(self._parameters)
        self._wanted_calls: list[int] | None = None
        self._order: dict[int, None] = {}
        self._buckets: list[Bucket] = []
        self._requests: list[Any] = []
        for parameter in self._parameters:
            parameter.when_ready = self._ready
        self._handler = None
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._terminated)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None:
                self._fail(error)
            else:
                self._end()
        except Exception as late:
            self._fail(late)
            raise
        finally:
            for parameter in self._parameters:
                parameter.when_ready = None
            if self._handler is not None:
                signal.signal(signal.SIGTERM, self._handler)

    def _end(self) -> None:
        """Wait until all other ranks have ended as well, after as many steps."""
        others = [number for number in range(self.size) if number != self.rank]
        sent = [self._control.isend(self.steps, number, ENDED) for number in others]
        self._poll(lambda: len(self._ended) == len(others), 0)
        for request in sent:
            self._poll(request.Test, 0)
        wrong = {number: steps for number, steps in self._ended.items() if steps != self.steps}
        if wrong:
            raise RuntimeError(self._unequal(*next(iter(wrong.items()))))
        self._links.close()
        self._control.Free()

    def _fail(self, error: BaseException) -> None:
        """Write the checkpoint and end all ranks; alone, the error goes on."""
        if self.size > 1:
            traceback.print_exception(error)
        self._say(f"has failed: {type(error).__name__}: {error}; {self._rescue()}")
        if self.size > 1:
            sys.stdout.flush()
            mpi().COMM_WORLD.Abort(1)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        """``mpirun`` asks to end, as another rank is dead: at once, or after a step that is half done."""
        if self._is_moving:
            self._should_end = True
            return
        self._say(f"was asked to end; {self._rescue()}")
        os._exit(128 + number)

    def _rescue(self) -> str:
        """Write the state after the last finished step, and say what was done."""
        if self.checkpoint is None:
            return "there is no checkpoint to write"
        if self._is_moving:
            return f"parameters are half moved: {os.fspath(self.checkpoint)} is left as it is"
        try:
            self.save(self.checkpoint)
        except Exception as error:
            return f"{os.fspath(self.checkpoint)} could not be written: {error}"
        return f"step {self.steps} is in {os.fspath(self.checkpoint)}"

    def _say(self, what: str) -> None:
        print(f"rank {self.rank} of {self.size} {what}", file=sys.stderr, flush=True)

    # One step.

    def wait(self) -> None:
        """Wait until the gradients are the means over the ranks: after backward, before the optimizer's step."""
        if not self._buckets:
            self._buckets = buckets_of(self._parameters[::-1], self.bucket_bytes)
        for bucket in self._buckets[len(self._requests) :]:
            bucket.take_rest(self._weight)
            self._requests.append(self._links.start_sum(bucket.flat))
        statistics = self._statistics.take()
        if statistics is not None:
            self._requests.append(self._links.start_sum(statistics))
        for request in self._requests:
            self._poll(partial(self._links.is_done, request), self.steps + 1)
        for bucket in self._buckets:
            bucket.give(self.size if self.reduction == "mean" else 1)
        if statistics is not None:
            self._statistics.give(statistics, self.size)
        self._requests.clear()
        self._is_moving = True

    def finish(self) -> None:
        """The optimizer has moved the parameters, or has left a step out: the step is finished."""
        self._statistics.keep()
        self.steps += 1
        self._is_moving = False
        if self._should_end:
            self._terminated(signal.SIGTERM, None)
        if self._wanted_calls is None:
            self._learn()
        for bucket in self._buckets:
            bucket.begin()
        self._calls = [0] * len(self._parameters)
        if self.checkpoint_every and self.steps % self.checkpoint_every == 0 and self.rank == 0:
            self.save(self.checkpoint or "")

    def step(self) -> None:
        """``wait``, the optimizer's step, ``finish``."""
        if self.optimizer is None:
            raise ValueError("optimizer: got None; needed for step(): without, call wait() and finish() around yours")
        self.wait()
        self.optimizer.step()
        self.finish()

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Send nothing for the time of a block: for all but the last of several backwards of one step."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def _ready(self, parameter: Parameter) -> None:
        """A gradient was added: when it is complete, and with it a bucket, the bucket is sent."""
        if self._holds:
            return
        number = self._numbers[id(parameter)]
        self._calls[number] += 1
        if self._wanted_calls is None:
            self._order.pop(number, None)
            self._order[number] = None
            return
        bucket, place = self._places[number]
        if self._calls[number] > self._wanted_calls[number] and place not in bucket.waits_for:
            raise RuntimeError(
                f"parameter {number} of the model has got more gradients than in the first step, after they were sent; "
                "call all but the last backward of a step within 'with ranks.accumulating()'"
            )
        if self._calls[number] == self._wanted_calls[number]:
            bucket.take(place, self._weight)
        while len(self._requests) < len(self._buckets) and not self._buckets[len(self._requests)].waits_for:
            self._requests.append(self._links.start_sum(self._buckets[len(self._requests)].flat))
        if self._requests:
            self._links.is_done(self._requests[-1])

    def _learn(self) -> None:
        """The first step has shown in which order gradients are complete; rank 0's is that of all."""
        order = [
            *self._order,
            *(number for number in reversed(range(len(self._parameters))) if number not in self._order),
        ]
        order = mpi().COMM_WORLD.bcast(order)
        self._wanted_calls = list(self._calls)
        self._buckets = buckets_of([self._parameters[number] for number in order], self.bucket_bytes)
        self._places = {
            self._numbers[id(parameter)]: (bucket, place)
            for bucket in self._buckets
            for place, parameter in enumerate(bucket.parameters)
        }

    def _poll(self, is_done: Callable[[], Any], step: int) -> None:
        """Wait in Python, where signals are handled, and look whether a rank has ended without this step."""
        looks = 0
        while not is_done():
            looks += 1
            if looks > BUSY_LOOKS:
                while self._control.iprobe(tag=ENDED):
                    status = mpi().Status()
                    steps = self._control.recv(tag=ENDED, status=status)
                    self._ended[status.Get_source()] = steps
                    if steps < step:
                        raise RuntimeError(self._unequal(status.Get_source(), steps))
                time.sleep(1e-4)

    def _unequal(self, other: int, steps: int) -> str:
        return (
            f"rank {other} has ended after {steps} steps, and rank {self.rank} has done {self.steps}; "
            "all take as many: ranks.share(batches) and nn.parallel.shard(x) see to that"
        )

    # Data.

    def share(self, batches: Batches) -> Share:
        """This rank's part of every batch, where each rank has all of the data: steps as of one process.

        Parameters
        ----------
        batches : nn.Batches
            The same on all ranks, with the same seed. Their sizes need not be multiples of that of the ranks.

        Returns
        -------
        iterable
            As ``batches``, for ``nn.fit`` or a loop.
        """
        return Share(batches, self)

    # As a callback of nn.fit.

    def after_backward(self, training: Training) -> None:
        """Wait for the gradients."""
        self.wait()

    def after_step(self, training: Training) -> None:
        """Take the mean of the loss over the ranks, so that all of them decide alike."""
        self.finish()
        loss = np.array([training.last_loss * self._weight])
        MPI = mpi()
        request = self._control.Iallreduce(MPI.IN_PLACE, loss)
        self._poll(request.Test, self.steps)
        training.last_loss = float(loss[0]) / (self.size if self.reduction == "mean" else 1)

    # Checkpoints.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write network, optimizer and the number of steps, as they were after the last finished step."""
        kept = self._statistics.kept()
        state = {name: kept.get(id(tensor), tensor.data) for name, tensor in self.model.named_tensors()}
        parts = {} if self.optimizer is None else {"optimizer": self.optimizer}
        save_checkpoint(path, model=state, steps={"done": self.steps}, **parts)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from what ``save`` has written, on every rank; within the context."""
        states = load_checkpoint(path, model=self.model, optimizer=self.optimizer)
        self.steps = int(states["steps"]["done"])
        self._statistics.keep()


class Share:
    """Every batch's part of a rank."""

    def __init__(self, batches: Batches, ranks: DataParallel) -> None:
        self._batches, self._ranks = batches, ranks

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        rank, size = self._ranks.rank, self._ranks.size
        for arrays in self._batches:
            whole, parts = len(arrays[0]), tuple(array[rank::size] for array in arrays)
            if whole < size:
                raise ValueError(
                    f"batches: got one of {whole} for {size} ranks; allowed: one or more for each (drop_last)"
                )
            # The mean over the ranks counts this part for what it is of the whole.
            self._ranks._weight = len(parts[0]) * size / whole if self._ranks.reduction == "mean" else 1.0
            yield parts

    def state_dict(self) -> dict[str, Any]:
        return self._batches.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches.load_state_dict(state)
