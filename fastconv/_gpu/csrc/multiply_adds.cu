// multiply_adds: how many a device can do, measured.
//
// result[t] = the sum over CHAINS of x with x <- x * factor + term, UNROLLED * rounds times, from different starts
//
// Layout: a result for every thread. Preconditions: none. Numerics: none that matter: nobody reads the results; factor
// and term are arguments, so that the compiler cannot know them. CHAINS independent chains hide the latency of one.
#define CHAINS 8
#define UNROLLED 16

extern "C" __global__ void multiply_adds(REAL *result, REAL factor, REAL term, int rounds) {
    REAL x[CHAINS], sum = 0;
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        x[i] = (REAL)(thread + i);
    for (int round = 0; round < rounds; round++)
#pragma unroll
        for (int step = 0; step < UNROLLED; step++)
#pragma unroll
            for (int i = 0; i < CHAINS; i++)
                x[i] = x[i] * factor + term;
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        sum += x[i];
    result[thread] = sum;
}
