from libc.stdint cimport int64_t

from .kernel_types cimport item_fn


cdef int64_t isa_level() noexcept
cdef int real_type(str dtype) except -1
cdef int run_items(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, object workspace,
                   int64_t workspace_offset, int threads) except -1
cdef int run_job(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, char *scratch,
                 int threads) except -1
cpdef int thread_limit() noexcept
