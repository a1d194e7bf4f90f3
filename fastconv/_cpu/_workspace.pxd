from libc.stdint cimport int64_t


cpdef object aligned(int64_t size_bytes)
cpdef object take(int64_t size_bytes)
cpdef object give_back(object memory)
