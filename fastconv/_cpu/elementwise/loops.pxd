from libc.stdint cimport int64_t


cdef extern from "carry_job.h" nogil:
    enum:
        CARRY_AXES

    ctypedef enum carry_t:
        CARRY_COUNT

    ctypedef struct carry_job_t:
        carry_t carry
        int64_t size[CARRY_AXES]
        const char *source
        char *result
        int64_t source_step[CARRY_AXES]
        int64_t result_step[CARRY_AXES]
        const int64_t *source_index[3]
        const int64_t *result_index[3]

    const char *carry_name(int64_t carry)
    int64_t carry_items(carry_job_t *job)


cdef int run_carry(carry_job_t *job, int threads) except -1
