"""Batches: every example once an epoch, by a seed; the thread that prepares them ends, and its errors arrive."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from fastconv import nn


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastconv-batches"]


def epoch_of(batches: nn.Batches) -> list[list[int]]:
    return [x.tolist() for x, _ in batches]


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_example_comes_once(prefetch: int, drop_last: bool, shuffle: bool) -> None:
    x = np.arange(23)
    batches = nn.Batches(x, x**2, batch_size=4, shuffle=shuffle, drop_last=drop_last, prefetch=prefetch)
    assert len(batches) == (5 if drop_last else 6)
    seen = []
    for part, squares in batches:
        np.testing.assert_array_equal(squares, part**2)
        assert len(part) == 4 or (not drop_last and len(seen) == 20)
        seen += part.tolist()
    assert len(set(seen)) == len(seen) == (20 if drop_last else 23)
    if not shuffle:
        assert seen == sorted(seen)
    assert not workers()


def test_orders_depend_on_seed_and_epoch_alone() -> None:
    def make(**options: Any) -> nn.Batches:
        return nn.Batches(np.arange(50), np.arange(50), batch_size=8, shuffle=True, **options)

    one, two = make(), make(prefetch=2)
    epochs = [epoch_of(one) for _ in range(3)]
    assert [epoch_of(two) for _ in range(3)] == epochs
    assert epochs[0] != epochs[1] != epochs[2]
    assert epoch_of(make(seed=1)) != epochs[0]
    three = make()
    three.load_state_dict({"epoch": 2, "seed": 0})
    assert epoch_of(three) == epochs[2]
    assert three.state_dict() == {"epoch": 3, "seed": 0}


@pytest.mark.parametrize("prefetch", [0, 2])
def test_transforms_draw_by_epoch_and_batch(prefetch: int) -> None:
    def noisy(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return x + generator.random(x.shape)

    x = np.zeros((10, 2))
    batches = nn.Batches(x, np.arange(10), batch_size=5, transform=noisy, prefetch=prefetch)
    first, second = [[x for x, _ in batches] for _ in range(2)]
    again = nn.Batches(x, np.arange(10), batch_size=5, transform=noisy)
    again.load_state_dict({"epoch": 1, "seed": 0})
    for one, two, three in zip(first, second, [x for x, _ in again], strict=True):
        assert (one != two).all()
        np.testing.assert_array_equal(two, three)
    assert (first[0] != first[1]).all()
    assert not x.any()


def broken_at(number: int) -> Any:
    """A transform that fails at a batch."""
    calls = []

    def transform(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        calls.append(x)
        if len(calls) == number:
            raise OSError("the disk is gone")
        return x

    transform.calls = calls  # type: ignore[attr-defined]
    return transform


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("number", [1, 3])
def test_errors_of_the_thread_arrive_in_their_place(prefetch: int, number: int) -> None:
    transform = broken_at(number)
    batches = nn.Batches(np.arange(20), np.arange(20), batch_size=4, transform=transform, prefetch=prefetch)
    seen: list[np.ndarray] = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(x for x, _ in batches)
    assert len(seen) == number - 1
    assert not workers()


def test_the_thread_ends_with_the_loop() -> None:
    transform = broken_at(1000)
    batches = nn.Batches(np.arange(400), np.arange(400), batch_size=4, transform=transform, prefetch=2)
    for number, _ in enumerate(batches):
        if number == 3:
            break
    gc.collect()
    assert not workers()
    assert len(transform.calls) <= 8
    with pytest.raises(ZeroDivisionError):
        [1 / (len(x) - 4) for x, _ in batches]
    gc.collect()
    assert not workers()
    left = iter(batches)
    next(left)
    assert len(workers()) == 1
    del left
    gc.collect()
    assert not workers()


def test_batches_are_prepared_while_the_loop_works() -> None:
    made: list[float] = []

    def slow(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        made.append(time.monotonic())
        return x

    batches = iter(nn.Batches(np.arange(12), np.arange(12), batch_size=2, transform=slow, prefetch=3))
    next(batches)
    until = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4, "three are ready beside the one that was taken"
    assert sum(1 for _ in batches) == 5


def test_memory_maps_and_several_arrays(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(30).reshape(10, 3))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part, y, z in nn.Batches(x, np.arange(10), np.arange(10) + 5, batch_size=3, shuffle=True):
        np.testing.assert_array_equal(part[:, 0], 3 * y)
        np.testing.assert_array_equal(z, y + 5)


def test_what_batches_refuse() -> None:
    x = np.zeros(3)
    with pytest.raises(ValueError, match="arrays: there are none"):
        nn.Batches()
    with pytest.raises(ValueError, match=r"arrays: their lengths are \[3, 2\]"):
        nn.Batches(x, x[:2])
    with pytest.raises(ValueError, match="batch_size: 0; 1 or more"):
        nn.Batches(x, batch_size=0)
    with pytest.raises(ValueError, match="prefetch: -1; 0 or more"):
        nn.Batches(x, prefetch=-1)
    with pytest.raises(ValueError, match="seed: -1"):
        nn.Batches(x, seed=-1)
    with pytest.raises(ValueError, match="the state does not fit Batches"):
        nn.Batches(x).load_state_dict({"count": 1})
