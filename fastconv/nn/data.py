"""Batches of data: shuffled by a seed, augmented, and prepared ahead by a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

Array = Any


class Batches:
    """Arrays in batches, in another order each epoch.

    Which batches an epoch has depends on the seed and the epoch's number alone, not on what was drawn before: training
    that goes on from a checkpoint sees what it would have seen.

    Parameters
    ----------
    *arrays : array
        NumPy's or CuPy's, or memory maps, of the same length; an iteration gives a batch of each, as a tuple.
    batch_size : int, default 32
    shuffle : bool, default False
    drop_last : bool, default False
        Whether a last batch that is not whole is left out.
    transform : callable, optional
        ``transform(x, generator)`` returns the batch of the first array changed: see ``nn.Compose``. The generator is
        NumPy's, and another one for each batch.
    prefetch : int, default 0
        So many batches are prepared ahead by a thread. It ends with the loop; what goes wrong in it is raised in the
        loop.
    seed : int, default 0

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> batches = nn.Batches(np.arange(5), np.arange(5) * 2, batch_size=2)
    >>> [y.tolist() for x, y in batches]
    [[0, 2], [4, 6], [8]]
    """

    def __init__(
        self,
        *arrays: Array,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        transform: Callable[[Array, np.random.Generator], Array] | None = None,
        prefetch: int = 0,
        seed: int = 0,
    ) -> None:
        if not arrays:
            raise ValueError("arrays: there are none")
        lengths = [len(array) for array in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"arrays: their lengths are {lengths}; the same length is wanted")
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size!r}; 1 or more is wanted")
        if prefetch < 0:
            raise ValueError(f"prefetch: {prefetch!r}; 0 or more is wanted")
        if seed < 0:
            raise ValueError(f"seed: {seed!r}; 0 or more is wanted")
        self.arrays, self.batch_size, self.shuffle, self.drop_last = arrays, batch_size, shuffle, drop_last
        self.transform, self.prefetch, self.seed = transform, prefetch, seed
        self.epoch = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.arrays[0]), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        batches = self._batches(epoch)
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, epoch: int) -> Iterator[tuple[Array, ...]]:
        length = len(self.arrays[0])
        order = np.random.default_rng([self.seed, epoch]).permutation(length) if self.shuffle else None
        for number in range(len(self)):
            part = slice(number * self.batch_size, min((number + 1) * self.batch_size, length))
            # Sorted: memory maps are read in one direction, and the order within a batch is of no account.
            chosen: Any = part if order is None else np.sort(order[part])
            first, *others = (array[chosen] for array in self.arrays)
            if self.transform is not None:
                first = self.transform(first, np.random.default_rng([self.seed, epoch, number]))
            yield (first, *others)

    def state_dict(self) -> dict[str, Any]:
        """The number of the next epoch, and the seed."""
        return {"epoch": self.epoch, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` has given."""
        if state.keys() != {"epoch", "seed"}:
            raise ValueError(f"the state does not fit Batches: {sorted(state)}; 'epoch' and 'seed' are wanted")
        self.epoch, self.seed = state["epoch"], state["seed"]

    def __repr__(self) -> str:
        return f"Batches({len(self.arrays[0])} in {len(self)} of {self.batch_size}, shuffle={self.shuffle})"


def ahead(items: Iterable[Any], count: int) -> Iterator[Any]:
    """The items in their order, up to ``count`` of them made ahead by a thread.

    The thread ends with the iteration, however that ends. What is raised while an item is made, is raised in its place.
    """
    shelf = _Shelf(count)
    thread = threading.Thread(target=shelf.fill, args=(items,), name="fastconv-batches", daemon=True)
    thread.start()
    try:
        yield from shelf.take()
    finally:
        shelf.close()
        thread.join()


class _Shelf:
    """Items between a thread that makes them and one that takes them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._items: deque[Any] = deque()
        self._change = threading.Condition()
        self._is_closed = self._is_done = False
        self._error: BaseException | None = None

    def fill(self, items: Iterable[Any]) -> None:
        """Make the items, as long as anybody wants them."""
        try:
            for item in items:
                with self._change:
                    self._items.append(item)
                    self._change.notify_all()
                    del item
                    self._change.wait_for(lambda: self._is_closed or len(self._items) < self._count)
                    if self._is_closed:
                        return
        except BaseException as error:
            self._error = error
        finally:
            with self._change:
                self._is_done = True
                self._change.notify_all()

    def take(self) -> Iterator[Any]:
        """The items, as they are ready."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._items or self._is_done)
                if not self._items:
                    break
                item = self._items.popleft()
                self._change.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Want no more."""
        with self._change:
            self._is_closed = True
            self._items.clear()
            self._change.notify_all()
