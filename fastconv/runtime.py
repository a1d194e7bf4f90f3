"""What the library runs on: versions, kernels, threads, caches and the environment variables in force."""

from __future__ import annotations

import os
import platform

import numpy as np

from . import _config
from ._backend import CPU, algorithm_names
from ._version import __version__

ENVIRONMENT = (
    "FASTCONV_MAX_ISA",
    "FASTCONV_NUM_THREADS",
    "FASTCONV_PRECISION",
    "FASTCONV_CACHE_DIR",
    "OMP_NUM_THREADS",
)


def runtime_facts() -> dict[str, str]:
    """What ``show_runtime`` prints: names to texts, in order."""
    from importlib import metadata  # imported late: `import fastconv` must stay cheap

    here = CPU.fingerprint()
    return {
        "fastconv": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "scipy": metadata.version("scipy"),
        "cpu": " ".join(f"{field} {here[field]}" for field in ("vendor", "family", "model", "stepping")),
        "caches": here["caches"],
        "cores": str(_config.available_cores()),
        **CPU.facts(),
        "threads": str(_config.get_num_threads()),
        "precision": _config.get_precision(),
        "deterministic": str(_config.get_deterministic()),
        "workspace limit": f"{_config.get_workspace_limit() / 2**20:.0f} MiB",
        "algorithms": ", ".join(algorithm_names()),
        "environment": ", ".join(f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ) or "none",
    }


def show_runtime() -> None:
    """Print versions, the ISA level in use and those built, threads, caches and environment variables in force.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_runtime()  # doctest: +ELLIPSIS
    fastconv         ...
    python           ...
    """
    for name, fact in runtime_facts().items():
        print(f"{name:<16} {fact}")
