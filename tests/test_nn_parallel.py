"""Data parallel training: the same parameters as one process, and ranks that end together."""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import parallel_cases as cases
from fastconv import nn
from subprocesses import environment

pytest.importorskip("safetensors", reason='needs pip install ".[nn]"')
pytest.importorskip("mpi4py", reason='needs pip install ".[mpi]"')
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="needs an MPI library: apt-get install openmpi-bin"
)


def start(folder: Path, *words: str, ranks: int = 2) -> subprocess.Popen[str]:
    """The ranks of a case."""
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    command += [sys.executable, str(HERE / "parallel_cases.py"), words[0], str(folder), *words[1:]]
    alone = {
        "OMPI_MCA_btl": "self,vader,tcp",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command,
        env=environment(**alone),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str]:
    """Exit status and messages of ranks that end by themselves."""
    try:
        out, messages = run.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        out, messages = run.communicate()
        pytest.fail(f"the ranks hang\n{out[-2000:]}\n{messages[-4000:]}")
    return run.returncode, out + messages


def states(folder: Path, *words: str, ranks: int = 2, first: int = 0) -> list[dict[str, np.ndarray]]:
    """What every rank has at the end."""
    status, text = ended(start(folder, *words, ranks=ranks))
    assert status == 0, text[-4000:]
    return [dict(np.load(folder / f"rank{first + rank}.npz")) for rank in range(ranks)]


def assert_alike(ranks: list[dict[str, np.ndarray]]) -> None:
    """To the bit."""
    for other in ranks[1:]:
        assert ranks[0].keys() == other.keys()
        for name, array in ranks[0].items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def assert_close(state: dict[str, np.ndarray], model: nn.Module, rtol: float = 1e-10) -> None:
    """To the rounding of sums in another order."""
    wanted = model.state_dict()
    assert state.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(state[name], array, rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize(("kind", "count", "ranks"), [("plain", 40, 2), ("shared", 41, 2), ("plain", 41, 3)])
def test_ranks_take_the_steps_of_one_process(tmp_path: Path, kind: str, count: int, ranks: int) -> None:
    found = states(tmp_path, "steps", kind, str(count), ranks=ranks)
    assert_alike(found)
    model = cases.network(kind)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    cases.train(model, cases.batches(count), cases.optimizer_of(model))
    assert_close(found[0], model)
    assert all((before[name] != found[0][name]).any() for name in before)


def test_batch_norm_has_the_statistics_of_each_rank(tmp_path: Path) -> None:
    """One process does the same by hand: a forward and backward for each part, gradients and statistics averaged."""
    found = states(tmp_path, "steps", "norm")
    assert_alike(found)
    model, parts = cases.network("norm"), [cases.network("norm"), cases.network("norm")]
    optimizer, loss = cases.optimizer_of(model), nn.CrossEntropyLoss()
    given = cases.batches(40)
    for x, target in itertools.islice(itertools.chain.from_iterable(itertools.repeat(given)), cases.STEPS):
        for rank, part in enumerate(parts):
            part.load_state_dict(model.state_dict())
            part.train().zero_grad()
            loss(part(x[rank::2]), target[rank::2])
            part.backward(loss.backward(), wants_dx=False)
        for own, one, two in zip(*(network.parameters() for network in (model, *parts)), strict=True):
            own.grad = (one.grad + two.grad) / 2
        optimizer.step()
        for (_, own), (_, one), (_, two) in zip(*(network.named_tensors() for network in (model, *parts)), strict=True):
            if isinstance(own, nn.Buffer):
                own.data[...] = (one.data + two.data) / 2 if own.is_floating() else one.data
    assert_close(found[0], model)


def test_fit_with_uneven_parts(tmp_path: Path) -> None:
    """Its histories are alike, too: ranks that decide by them decide alike."""
    found = states(tmp_path, "fit")
    assert_alike(found)
    model = cases.network()
    history = nn.fit(
        model,
        cases.batches(41),
        nn.CrossEntropyLoss(),
        cases.optimizer_of(model),
        epochs=2,
        max_norm=0.5,
        progress=False,
    )
    assert_close(found[0], model)
    losses = [ast.literal_eval((tmp_path / f"loss{rank}").read_text()) for rank in range(2)]
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-2)
    np.testing.assert_allclose(losses[0], history["loss"], rtol=2e-2)


def test_fit_in_half_floats(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    assert_alike(states(tmp_path, "fit", "bfloat16"))


def test_gradients_of_several_backwards(tmp_path: Path) -> None:
    found = states(tmp_path, "accumulate")
    assert_alike(found)
    model, loss, (x, target) = cases.network("shared"), nn.CrossEntropyLoss(), cases.data()
    optimizer = cases.optimizer_of(model)
    for _ in range(4):
        model.zero_grad()
        loss(model(x), target)
        # Each rank adds the means of two halves of its part.
        model.backward(2 * loss.backward(), wants_dx=False)
        optimizer.step()
    assert_close(found[0], model)


def test_buckets_are_sent_while_backward_goes_on(tmp_path: Path) -> None:
    assert_alike(states(tmp_path, "overlap"))


def test_layers_that_are_not_used(tmp_path: Path) -> None:
    assert_alike(states(tmp_path, "unused"))


def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """To the same bits."""
    whole = states(tmp_path, "resume")
    resumed = states(tmp_path, "resume", first=10)
    assert_alike([*whole, *resumed])


# -- Ranks that fail
def rescued(folder: Path) -> tuple[int, nn.Module, nn.Module]:
    """Steps that the checkpoint has, its network, and that of one process after as many steps."""
    model = cases.network()
    optimizer = cases.optimizer_of(model)
    read = nn.load_checkpoint(folder / "rescued.safetensors", model=model, optimizer=optimizer)
    done: int = read["steps"]["done"]
    wanted = cases.network()
    cases.train(wanted, cases.batches(), cases.optimizer_of(wanted), steps=done)
    return done, model, wanted


def pid(folder: Path, rank: int) -> int:
    """Of a rank that is on its way."""
    end = time.monotonic() + 60
    while not (folder / f"pid{rank}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    return int((folder / f"pid{rank}").read_text())


def is_running(process: int) -> bool:
    """Not so if nothing but its exit status is left."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("killed", [0, 1])
def test_a_rank_that_is_killed_ends_all(tmp_path: Path, killed: int) -> None:
    run = start(tmp_path, "forever")
    pids = [pid(tmp_path, 0), pid(tmp_path, 1)]
    os.kill(pids[killed], signal.SIGKILL)
    status, text = ended(run, timeout=60)
    assert status != 0
    assert f"rank {1 - killed} of 2 was asked to end; step " in text
    done, model, wanted = rescued(tmp_path)
    assert done >= 20
    assert_close(dict(model.state_dict()), wanted)
    assert not any(is_running(each) for each in pids)


def test_a_rank_that_raises_ends_all(tmp_path: Path) -> None:
    status, text = ended(start(tmp_path, "raises"))
    assert status != 0
    assert "ZeroDivisionError: planted" in text
    assert "rank 1 of 2 has failed: ZeroDivisionError: planted; step 4 is in" in text
    done, model, wanted = rescued(tmp_path)
    assert done == 4
    assert_close(dict(model.state_dict()), wanted)


def test_ranks_that_take_unequal_steps_end_with_an_error(tmp_path: Path) -> None:
    status, text = ended(start(tmp_path, "unequal"))
    assert status != 0
    assert "rank 0 has ended after 3 steps, and rank 1 has done 3" in text
    assert rescued(tmp_path)[0] == 3


def test_ranks_with_different_networks_end_with_an_error(tmp_path: Path) -> None:
    status, text = ended(start(tmp_path, "other"))
    assert status != 0
    assert "model: rank 1 has another network than rank 0: " in text


# -- One process
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reduction": "none"}, "reduction: got 'none'"),
        ({"bucket_bytes": 0}, "bucket_bytes: got 0"),
        ({"checkpoint_every": 3}, "checkpoint_every: got 3"),
        ({"checkpoint_every": 0, "checkpoint": "x"}, "checkpoint_every: got 0"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nn.parallel.DataParallel(cases.network(), **arguments)


def test_one_rank_is_one_process(tmp_path: Path) -> None:
    """Its error goes on, and its checkpoint is written."""
    model = cases.network()
    optimizer = cases.optimizer_of(model)
    with nn.parallel.DataParallel(model, optimizer, checkpoint=tmp_path / "rescued.safetensors") as ranks:
        cases.train(model, ranks.share(cases.batches()), optimizer, steps=3, take=ranks.step)
    with pytest.raises(ZeroDivisionError), ranks:
        raise ZeroDivisionError
    done, read, wanted = rescued(tmp_path)
    assert done == 3
    assert_close(dict(read.state_dict()), wanted)
    assert all(parameter.when_ready is None for parameter in model.parameters())


def test_shards_are_views_of_one_length() -> None:
    x = np.arange(10)
    assert np.shares_memory(nn.parallel.shard(x), x)
    with pytest.raises(ValueError, match="one length is wanted"):
        nn.parallel.shard(x, x[:3])
    with pytest.raises(ValueError, match="got 0 elements"):
        nn.parallel.shard(x[:0])


# -- Arrays on GPUs: no test of these has run on one
def test_what_nccl_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums wait for what is computed, go over a stream of their own, and are done when their event is."""
    from fastconv.nn.parallel.ranks import DeviceLinks, broadcast

    asked: list[Any] = []
    stream = SimpleNamespace(
        wait_event=lambda event: asked.append(("waits for", event)), record=lambda: SimpleNamespace(done=True)
    )
    current = SimpleNamespace(record=lambda: "what is computed")
    cuda = SimpleNamespace(Stream=lambda non_blocking: stream, get_current_stream=lambda: current)
    nccl = SimpleNamespace(
        all_reduce=lambda *words: asked.append(words), broadcast=lambda flat, root: asked.append((flat.dtype, root))
    )
    started = SimpleNamespace(init_process_group=lambda *words, use_mpi: asked.append((*words, use_mpi)) or nccl)
    monkeypatch.setitem(sys.modules, "pretended_cupyx.distributed", started)
    links = DeviceLinks(SimpleNamespace(__name__="pretended_cupy", cuda=cuda))
    flat = np.ones(3)
    assert links.is_done(links.start_sum(flat))
    broadcast(links, [nn.Parameter(np.ones((2, 3)))])
    assert asked[0] == (nn.parallel.size(), nn.parallel.rank(), True)
    assert asked[1] == ("waits for", "what is computed")
    assert asked[2][0] is asked[2][1] is flat
    assert asked[2][2:] == ("sum", stream)
    assert asked[3] == (np.uint8, 0)


def test_names_are_those_of_cupyx() -> None:
    """Where CuPy is installed; no driver is needed."""
    distributed = pytest.importorskip("cupyx.distributed", exc_type=ImportError)
    assert {"n_devices", "rank", "use_mpi"} <= inspect.signature(distributed.init_process_group).parameters.keys()
    backend = distributed.NCCLBackend
    assert list(inspect.signature(backend.all_reduce).parameters) == ["self", "in_array", "out_array", "op", "stream"]
    assert list(inspect.signature(backend.broadcast).parameters)[:3] == ["self", "in_out_array", "root"]
