/* Where workspaces come from. In a build with AddressSanitizer every one is a fresh allocation of exactly its size:
 * none is kept or on the stack, and the bytes around it may not be touched. */
#ifndef FASTCONV_WORKSPACE_H
#define FASTCONV_WORKSPACE_H

#include <stddef.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define FASTCONV_FENCED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define FASTCONV_FENCED 1
#endif

#ifdef FASTCONV_FENCED
#include <sanitizer/asan_interface.h>
enum {
    WORKSPACE_ON_STACK_BYTES = 0,
    WORKSPACE_FENCE_BYTES = 2048, /* at the end; NumPy keeps freed memory for arrays of up to 1024 bytes */
    WORKSPACE_IS_KEPT = 0
};
static inline void workspace_fence(const void *begin, size_t bytes) { ASAN_POISON_MEMORY_REGION(begin, bytes); }
#else
enum { WORKSPACE_ON_STACK_BYTES = 32768, WORKSPACE_FENCE_BYTES = 0, WORKSPACE_IS_KEPT = 1 };
static inline void workspace_fence(const void *begin, size_t bytes) {
    (void)begin;
    (void)bytes;
}
#endif

#endif
