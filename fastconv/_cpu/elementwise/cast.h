/* Casts of blocks of elements between float32 and 16-bit floats (half_floats.h); see cast_job.h for the layout. The
 * same in the tables of all real types. */
static void NAMED(cast)(const void *argument, int64_t item, void *scratch) {
    const cast_job_t *job = argument;
    const int64_t first = item * CAST_BLOCK, count = min64(CAST_BLOCK, job->count - first);
    (void)scratch;
#define EACH(cast, from_t, to_t)                                                                                       \
    {                                                                                                                  \
        const from_t *restrict source = (const from_t *)job->source + first;                                           \
        to_t *restrict result = (to_t *)job->result + first;                                                           \
        for (int64_t i = 0; i < count; i++) result[i] = cast(source[i]);                                               \
        break;                                                                                                         \
    }
    switch (job->cast) {
    case FLOAT16_TO_FLOAT32: EACH(float16_to_float32, uint16_t, uint32_t)
    case FLOAT32_TO_FLOAT16: EACH(float32_to_float16, uint32_t, uint16_t)
    case BFLOAT16_TO_FLOAT32: EACH(bfloat16_to_float32, uint16_t, uint32_t)
    case FLOAT32_TO_BFLOAT16: EACH(float32_to_bfloat16, uint32_t, uint16_t)
    }
#undef EACH
}
