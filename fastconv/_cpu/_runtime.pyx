"""The one place that owns threads: which kernels run (by CPUID) and the parallel loop over their work items."""

import os

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport prange, threadid
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from libc.string cimport memset

from .correlation cimport item_fn

cdef extern from *:
    """
    #include <time.h>
    #ifdef _OPENMP
    #define FASTCONV_OPENMP 1
    #else
    #define FASTCONV_OPENMP 0
    #endif
    static double monotonic_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }

    /* Read after every item: a clock of a few milliseconds' steps costs a fraction where the system has one. */
    static double coarse_seconds(void) {
    #ifdef CLOCK_MONOTONIC_COARSE
        struct timespec now;
        if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0)
            return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    #endif
        return monotonic_seconds();
    }

    /* Time between two looks at pending signals; well below what a person notices after Ctrl-C. */
    #define LOOK_SECONDS 0.05

    typedef struct {
        PyThreadState *state; /* of the calling thread, which has given up the GIL */
        double last;
        int stopped;
    } watch_t;

    static int watch_stopped(watch_t *watch) { return __atomic_load_n(&watch->stopped, __ATOMIC_RELAXED); }

    /* Now and then: take the GIL and let pending signals run. An exception stays set in the thread's state. */
    static void watch_look(watch_t *watch) {
        double now = coarse_seconds();
        if (now - watch->last < LOOK_SECONDS) return;
        PyEval_RestoreThread(watch->state);
        if (PyErr_CheckSignals() != 0) __atomic_store_n(&watch->stopped, 1, __ATOMIC_RELAXED);
        watch->state = PyEval_SaveThread();
        watch->last = coarse_seconds();
    }
    """
    ctypedef struct PyThreadState

    ctypedef struct watch_t:
        PyThreadState *state
        double last
        int stopped

    int FASTCONV_OPENMP
    double monotonic_seconds() nogil
    double coarse_seconds() nogil
    int watch_stopped(watch_t *watch) nogil
    void watch_look(watch_t *watch) nogil
    PyThreadState *PyEval_SaveThread() nogil
    void PyEval_RestoreThread(PyThreadState *state) nogil

cdef const kernels_t *_kernels = NULL
cdef kernels_t _with_other_kernels
cdef bint _pool_used = False
cdef bint _forked_with_pool = False
cdef int _active_calls = 0


def _after_fork_in_child():
    # libgomp's workers do not survive a fork and starting another region would wait for them for ever.
    global _forked_with_pool, _active_calls
    _forked_with_pool = _pool_used
    _active_calls = 0


os.register_at_fork(after_in_child=_after_fork_in_child)


def isa_levels() -> list:
    """Names of the ISA levels compiled in, lowest first, each with whether this machine runs it."""
    levels = []
    cdef int64_t level = 0
    while kernels_level_name(level) != NULL:
        levels.append((kernels_level_name(level).decode(), bool(kernels_level_usable(level))))
        level += 1
    return levels


def select_isa(max_isa=None) -> str:
    """Use the highest level that this machine runs and ``max_isa`` allows; return its name."""
    global _kernels
    cdef bytes cap
    cdef const kernels_t *chosen
    if max_isa is None:
        chosen = kernels_select(NULL)
    else:
        cap = max_isa.encode()
        chosen = kernels_select(cap)
    if chosen == NULL:
        names = ", ".join(name for name, _ in isa_levels())
        raise ValueError(f"FASTCONV_MAX_ISA: got {max_isa!r}; allowed: {names}")
    _kernels = chosen
    return chosen.name.decode()


def use_split_kernels_of(size_t address) -> None:
    """Take the kernels of bfloat16 pieces from the kernels_t at ``address``, which has to stay there.

    For tests of a level that this machine does not run, compiled with its instructions in software.
    """
    global _kernels, _with_other_kernels
    _with_other_kernels = _kernels[0]
    _with_other_kernels.split = (<const kernels_t *>address).split
    _kernels = &_with_other_kernels


def isa() -> str:
    """Name of the ISA level in use."""
    return _kernels.name.decode()


def has_openmp() -> bool:
    """Whether the library was built with OpenMP; without it every call runs on one thread."""
    return bool(FASTCONV_OPENMP)


def tile_sizes(str dtype) -> tuple:
    """(lanes, rows, columns) of the register tile for ``dtype`` at the level in use."""
    cdef const real_kernels_t *kernels = kernels_for(dtype)
    return kernels.lanes, kernels.tile_rows, kernels.tile_columns


def multiply_add_rate(str dtype, int repeats=20) -> float:
    """Multiply-adds per second of one thread at the level in use: the best of ``repeats`` short runs in registers."""
    cdef const real_kernels_t *kernels = kernels_for(dtype)
    cdef float numbers32[2]
    cdef double numbers64[2]
    cdef char scratch[64 * 64]
    cdef double start, seconds, best = 1e30
    cdef int repeat
    numbers32[0], numbers32[1] = 0.5, 1
    numbers64[0], numbers64[1] = 0.5, 1
    memset(scratch, 0, sizeof(scratch))
    for repeat in range(repeats):
        start = monotonic_seconds()
        kernels.multiply_add_peak(<const void *>numbers32 if dtype == "float32" else <const void *>numbers64, 0, scratch)
        seconds = monotonic_seconds() - start
        best = min(best, seconds)
    return PEAK_STEPS * kernels.tile_rows * kernels.tile_columns / best


cdef const real_kernels_t *kernels_for(str dtype) except NULL:
    if dtype == "float32":
        return _kernels.float32
    if dtype == "float64":
        return _kernels.float64
    raise TypeError(f"no kernels for dtype {dtype}")


cdef const split_kernels_t *split_kernels() noexcept:
    """The kernels of bfloat16 pieces at the level in use; NULL: it has none."""
    return _kernels.split


cdef item_fn cast_kernel() noexcept:
    """The casts of csrc/cast_job.h at the level in use."""
    return _kernels.cast


cdef const pool_kernels_t *pool_kernels_for(int pool_type) noexcept:
    """The pooling kernels of one pool_type_t at the level in use."""
    return &_kernels.pooling[pool_type]


cdef int run_items(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, object workspace,
                   int64_t workspace_offset, int threads) except -1:
    """Call ``fn`` for every item, each thread with its own ``scratch_bytes`` of ``workspace``.

    The GIL is released; pending signals are looked at every LOOK_SECONDS plus one item's time, so that
    KeyboardInterrupt comes through. ``workspace`` may be None when ``scratch_bytes`` is 0.
    """
    cdef Py_buffer view
    if not scratch_bytes or not items:
        return run_job(fn, job, items, 0, NULL, threads)
    PyObject_GetBuffer(workspace, &view, PyBUF_WRITABLE)
    try:
        if workspace_offset + scratch_bytes * threads > view.len:
            raise MemoryError("workspace smaller than the algorithm asked for")
        return run_job(fn, job, items, scratch_bytes, <char *>view.buf + workspace_offset, threads)
    finally:
        PyBuffer_Release(&view)


cdef int run_job(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, char *scratch,
                 int threads) except -1:
    """``run_items`` with ``scratch`` for all threads where the caller has pinned it."""
    global _pool_used, _active_calls
    _active_calls += 1
    try:
        # Several Python threads inside fastconv share the cores instead of each taking them all.
        threads = max(1, min(threads // _active_calls, items))
        if _forked_with_pool or not FASTCONV_OPENMP:
            threads = 1
        if threads > 1:
            _pool_used = True
        return _run_watched(fn, job, items, scratch_bytes, scratch, threads)
    finally:
        _active_calls -= 1


cdef int _run_watched(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, char *scratch,
                      int threads) except -1:
    cdef watch_t watch
    watch.stopped = 0
    watch.last = coarse_seconds()
    # Not `with nogil`: the loop itself takes the GIL back for its looks at signals.
    watch.state = PyEval_SaveThread()
    _loop(fn, job, items, scratch_bytes, scratch, threads, &watch)
    PyEval_RestoreThread(watch.state)
    # A job may have been too short for its loop to look, and one of many.
    return -1 if watch.stopped else PyErr_CheckSignals()


cdef void _loop(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, char *scratch, int threads,
                watch_t *watch) noexcept nogil:
    cdef int64_t item
    if threads == 1:
        for item in range(items):
            fn(job, item, scratch)
            watch_look(watch)
            if watch_stopped(watch):
                return
    else:
        for item in prange(items, schedule="dynamic", num_threads=threads):
            if not watch_stopped(watch):
                fn(job, item, scratch + threadid() * scratch_bytes)
                # Thread 0 of the team is the one that called.
                if threadid() == 0:
                    watch_look(watch)
