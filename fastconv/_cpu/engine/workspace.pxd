from libc.stdint cimport int64_t, uintptr_t

cdef extern from *:
    """
    /* In a build with AddressSanitizer every workspace is a fresh allocation of exactly its size: none is kept or on the
     * stack, and the bytes around it may not be touched. */
    #ifdef __has_feature
    #if __has_feature(address_sanitizer)
    #define FASTCONV_FENCED
    #endif
    #endif
    #ifdef __SANITIZE_ADDRESS__
    #define FASTCONV_FENCED
    #endif

    #ifdef FASTCONV_FENCED
    #include <sanitizer/asan_interface.h>
    enum {
        WORKSPACE_ON_STACK_BYTES = 0,
        WORKSPACE_FENCE_BYTES = 2048, /* at the end; NumPy keeps freed memory for arrays of up to 1024 bytes */
        WORKSPACE_IS_KEPT = 0
    };
    #define workspace_fence(begin, bytes) ASAN_POISON_MEMORY_REGION(begin, bytes)
    #else
    enum { WORKSPACE_ON_STACK_BYTES = 32768, WORKSPACE_FENCE_BYTES = 0, WORKSPACE_IS_KEPT = 1 };
    #define workspace_fence(begin, bytes) ((void)(begin), (void)(bytes))
    #endif
    """
    enum:
        # No more scratch memory than this is taken from the stack.
        WORKSPACE_ON_STACK_BYTES
        WORKSPACE_FENCE_BYTES
        WORKSPACE_IS_KEPT

    void workspace_fence(const void *begin, size_t bytes)


cdef uintptr_t address(object array) except *
cpdef object aligned(int64_t size_bytes)
cpdef object take(int64_t size_bytes)
cpdef object give_back(object memory)
cdef bint is_on_stack(int64_t size_bytes) noexcept
