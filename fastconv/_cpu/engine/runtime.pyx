"""Which kernels run (by CPUID), and the parallel loop over their work items, on the threads of threads.c."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from libc.string cimport memset

from .kernel_types cimport item_fn

cdef extern from *:
    """
    #include <time.h>
    /* Threads that whoever controls the process' OpenMP libraries leaves to this thread: threadpoolctl, say, or a
     * parallel region that it is in. fastconv runs no such region itself. */
    #ifdef _OPENMP
    #include <omp.h>
    #define FASTCONV_OPENMP 1
    static int openmp_threads(void) { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
    #else
    #define FASTCONV_OPENMP 0
    static int openmp_threads(void) { return 0; }
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
    } watch_t;

    /* Now and then: take the GIL and let pending signals run. An exception stays set in the thread's state. */
    static int watch_look(void *about) {
        watch_t *watch = (watch_t *)about;
        int stop;
        if (coarse_seconds() - watch->last < LOOK_SECONDS) return 0;
        PyEval_RestoreThread(watch->state);
        stop = PyErr_CheckSignals() != 0;
        watch->state = PyEval_SaveThread();
        watch->last = coarse_seconds();
        return stop;
    }
    """
    ctypedef struct PyThreadState

    ctypedef struct watch_t:
        PyThreadState *state
        double last

    int FASTCONV_OPENMP
    int openmp_threads() nogil
    double monotonic_seconds() nogil
    double coarse_seconds() nogil
    int watch_look(void *about) noexcept nogil
    PyThreadState *PyEval_SaveThread() nogil
    void PyEval_RestoreThread(PyThreadState *state) nogil


cdef extern from "threads.h" nogil:
    int threads_loop(item_fn fn, const void *job, int64_t items, char *scratch, int64_t scratch_bytes, int64_t threads,
                     int (*look)(void *) noexcept nogil, void *about)
    int64_t threads_kept()
    ctypedef void (*team_fn)(void (*fn)(void *) noexcept nogil, void *about, unsigned threads,
                             unsigned flags) noexcept nogil
    void threads_borrow(team_fn team)

cdef extern from "dispatch.h" nogil:
    const char *isa_level_name(int64_t level)
    bint isa_level_is_usable(int64_t level)
    int64_t isa_level_of(const char *max_isa)


cdef extern from "job.h" nogil:
    int64_t PEAK_STEPS

    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn multiply_add_peak

    const kernels_t *kernels_at(int64_t level, int64_t type)


cdef int64_t _level = 0
cdef int _openmp_threads_at_first = openmp_threads()


def isa_levels() -> list:
    """Names of the ISA levels compiled in, lowest first, each with whether this machine runs it."""
    levels = []
    cdef int64_t level = 0
    while isa_level_name(level) != NULL:
        levels.append((isa_level_name(level).decode(), isa_level_is_usable(level)))
        level += 1
    return levels


def select_isa(max_isa=None) -> str:
    """Use the highest level that this machine runs and ``max_isa`` allows; return its name."""
    global _level
    cdef bytes cap
    cdef int64_t level
    if max_isa is None:
        level = isa_level_of(NULL)
    else:
        cap = max_isa.encode()
        level = isa_level_of(cap)
    if level < 0:
        names = ", ".join(name for name, _ in isa_levels())
        raise ValueError(f"FASTCONV_MAX_ISA: got {max_isa!r}; allowed: {names}")
    _level = level
    return isa()


def isa() -> str:
    """Name of the ISA level in use."""
    return isa_level_name(_level).decode()


cdef int64_t isa_level() noexcept:
    """The ISA level in use, by which a room's ``kernels_at`` finds its kernels."""
    return _level


cdef int real_type(str dtype) except -1:
    """The type of that name, by which a room's ``kernels_at`` finds its kernels."""
    if dtype == "float32":
        return 0
    if dtype == "float64":
        return 1
    raise TypeError(f"no kernels for dtype {dtype}")


def has_openmp() -> bool:
    """Whether the library was built with OpenMP, by which others control how many threads it takes."""
    return bool(FASTCONV_OPENMP)


cpdef int thread_limit() noexcept:
    """Threads that are left to the calling thread by what controls OpenMP from outside; 0: nothing does."""
    cdef int threads = openmp_threads()
    return 0 if threads == _openmp_threads_at_first else threads


def kept_threads() -> int:
    """Threads that wait for work, or do it, beside those that call."""
    return threads_kept()


def borrow_team(int64_t address) -> None:
    """Run loops on the threads of another library, by its function at ``address``, as threads.h has it; 0: on own ones."""
    threads_borrow(<team_fn><void *>address)


def tile_sizes(str dtype) -> tuple:
    """(lanes, rows, columns) of the register tile for ``dtype`` at the level in use."""
    cdef const kernels_t *kernels = kernels_at(_level, real_type(dtype))
    return kernels.lanes, kernels.tile_rows, kernels.tile_columns


def multiply_add_rate(str dtype, int repeats=20) -> float:
    """Multiply-adds per second of one thread at the level in use: the best of ``repeats`` short runs in registers."""
    cdef const kernels_t *kernels = kernels_at(_level, real_type(dtype))
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
    cdef watch_t watch
    cdef int stopped
    watch.last = coarse_seconds()
    # Not `with nogil`: the loop itself takes the GIL back for its looks at signals.
    watch.state = PyEval_SaveThread()
    stopped = threads_loop(fn, job, items, scratch, scratch_bytes, threads, watch_look, &watch)
    PyEval_RestoreThread(watch.state)
    # A job may have been too short for its loop to look, and one of many.
    return -1 if stopped else PyErr_CheckSignals()
