# cython: cdivision=True
"""Memory of results: all but small ones begin where a cache line does, large ones take the pages of one that is gone.

NumPy's arrays begin 16 bytes after a multiple of 64, where every store of a whole vector touches two lines: results that
are mostly stored, not computed, take 5 to 10 % longer there.

The kernel hands out pages filled with zeros, which for a result of 50 MB takes longer than many a convolution into it.
The C library keeps the memory of smaller arrays itself; here blocks of LARGE_BYTES and more are kept, the newest up to
KEPT_BYTES, and new ones are asked for in huge pages.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

cdef extern from *:
    """
    #include <stdatomic.h>
    #include <stddef.h>
    #include <sys/mman.h>
    #ifndef MAP_ANONYMOUS
    #define MAP_ANONYMOUS MAP_ANON
    #endif
    static void *map_pages(size_t size) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return NULL;
    #ifdef MADV_HUGEPAGE
        madvise(memory, size, MADV_HUGEPAGE);
    #endif
        return memory;
    }

    /* Whoever finds the kept blocks in use by another thread does without them: nobody waits, not even a child process
     * that was forked meanwhile. */
    static atomic_flag kept_in_use = ATOMIC_FLAG_INIT;
    static int try_kept(void) { return !atomic_flag_test_and_set_explicit(&kept_in_use, memory_order_acquire); }
    static void leave_kept(void) { atomic_flag_clear_explicit(&kept_in_use, memory_order_release); }
    """
    int try_kept() nogil
    void leave_kept() nogil
    void *map_pages(size_t size) nogil
    int munmap(void *memory, size_t size) nogil

LARGE_BYTES = 2**25
"""The GNU C library maps fresh pages for every block of this size; smaller ones it reuses."""
ALIGNED_BYTES = 2**16
"""Making an array over other memory takes as long as is lost by storing about half as much across lines."""
KEPT_BYTES = 2**28
"""The most bytes of blocks, all together, that no array uses."""

cdef enum:
    MAX_BLOCKS = 32
    HUGE_PAGE = 1 << 21
    LINE = 64

ctypedef struct block_t:
    char *memory
    int64_t size

# The newest last. Looked at and changed between try_kept and leave_kept, where nothing of Python's runs.
cdef block_t _kept[MAX_BLOCKS]
cdef int _count = 0
cdef int64_t _kept_bytes = 0
cdef int64_t _large_bytes = LARGE_BYTES
cdef int64_t _max_kept_bytes = KEPT_BYTES
cdef object _empty = np.empty
cdef object _ndarray = np.ndarray
cdef object _uint8 = np.dtype(np.uint8)


cdef block_t _remove(int index) noexcept:
    global _count, _kept_bytes
    cdef block_t block = _kept[index]
    cdef int i
    _count -= 1
    for i in range(index, _count):
        _kept[i] = _kept[i + 1]
    _kept_bytes -= block.size
    return block


cdef void _unmap(block_t block) noexcept:
    munmap(block.memory, block.size)


cdef block_t _take(int64_t size) noexcept:
    """A block of ``size`` bytes and not much more; without memory where there is none to be had."""
    cdef block_t block
    cdef int i
    block.memory = NULL
    if try_kept():
        for i in range(_count - 1, -1, -1):
            if size <= _kept[i].size <= size + size // 4:
                block = _remove(i)
                break
        leave_kept()
    if block.memory != NULL:
        return block
    block.size = size
    block.memory = <char *>map_pages(size)
    if block.memory == NULL:
        release()
        block.memory = <char *>map_pages(size)
    return block


cdef void _give_back(block_t block) noexcept:
    global _count, _kept_bytes
    if block.size > _max_kept_bytes or not try_kept():
        _unmap(block)
        return
    while _count == MAX_BLOCKS or _kept_bytes + block.size > _max_kept_bytes:
        _unmap(_remove(0))
    _kept[_count] = block
    _count += 1
    _kept_bytes += block.size
    leave_kept()


cdef class _Pages:
    """A block in use, as a writable buffer; what an array's ``base`` leads to."""

    cdef block_t block

    def __cinit__(self, int64_t size):
        self.block = _take(size)
        if self.block.memory == NULL:
            raise MemoryError(f"no memory for a result of {size} bytes")

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.block.memory, self.block.size, 0, flags)

    def __dealloc__(self):
        if self.block.memory != NULL:
            _give_back(self.block)


cdef object _on_a_line(tuple shape, object dtype, int64_t size):
    cdef object memory = _empty(size + LINE, _uint8)
    cdef Py_buffer view
    PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE)
    cdef int64_t beyond = <uintptr_t>view.buf % LINE
    PyBuffer_Release(&view)
    return _ndarray(shape, dtype, memory, (LINE - beyond) % LINE)


cpdef object empty(tuple shape, object dtype):
    """``np.empty(shape, dtype)``."""
    cdef double size = dtype.itemsize
    for length in shape:
        size *= <int64_t>length
    if not ALIGNED_BYTES <= size < 1e15:
        return _empty(shape, dtype)
    if size < _large_bytes:
        return _on_a_line(shape, dtype, <int64_t>size)
    return _ndarray(shape, dtype, _Pages((<int64_t>size + HUGE_PAGE - 1) & ~<int64_t>(HUGE_PAGE - 1)))


cpdef release():
    """Give the pages that no array uses back to the system."""
    if not try_kept():
        return
    while _count > 0:
        _unmap(_remove(0))
    leave_kept()


def kept_bytes() -> int:
    """Bytes that no array uses."""
    return _kept_bytes
