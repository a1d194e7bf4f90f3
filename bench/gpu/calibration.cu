// What bench/gpu_model assumes of a device, each by a kernel that does little else. `out` gets results that nobody
// reads, so that nothing is left out. Preconditions: blocks of whole warps; `loads` 16-byte aligned.

extern "C" __global__ void nothing() {}

#define CHAINS 8

// One FFMA waits for the one before: latency.
extern "C" __global__ void ffma_chain(float *out, float a, int steps) {
    float sum = threadIdx.x;
#pragma unroll 16
    for (int i = 0; i < steps; i++) sum = sum * a + a;
    out[threadIdx.x] = sum;
}

// CHAINS sums that do not wait for each other, `steps` times each: how often a scheduler can start an FFMA.
extern "C" __global__ void __launch_bounds__(1024) ffma(float *out, float a, int steps) {
    float sum[CHAINS];
#pragma unroll
    for (int j = 0; j < CHAINS; j++) sum[j] = threadIdx.x + j;
#pragma unroll 4
    for (int i = 0; i < steps; i++)
#pragma unroll
        for (int j = 0; j < CHAINS; j++) sum[j] = sum[j] * a + a;
    float all = 0;
#pragma unroll
    for (int j = 0; j < CHAINS; j++) all += sum[j];
    if (all == a) out[threadIdx.x] = all;
}

#if __CUDA_ARCH__ >= 800
// The same of m16n8k16 products of bfloat16 with sums in float32.
extern "C" __global__ void __launch_bounds__(512) hmma(float *out, float a, int steps) {
    float sum[CHAINS][4] = {};
    fc_u32 left[4], right = __float_as_uint(a);
#pragma unroll
    for (int i = 0; i < 4; i++) left[i] = right + i;
#pragma unroll 2
    for (int i = 0; i < steps; i++)
#pragma unroll
        for (int j = 0; j < CHAINS; j++) fc_mma_bf16(sum[j], left, right, right + j);
    float all = 0;
#pragma unroll
    for (int j = 0; j < CHAINS; j++) all += sum[j][0] + sum[j][1] + sum[j][2] + sum[j][3];
    if (all == a) out[threadIdx.x] = all;
}
#endif

// Every block reads all `elements` `steps` times, past the first-level cache.
extern "C" __global__ void __launch_bounds__(1024) read_l2(float *out, const float4 *loads, int elements, int steps) {
    float all = 0;
    for (int step = 0; step < steps; step++)
#pragma unroll 4
        for (int i = threadIdx.x; i < elements; i += blockDim.x) {
            float4 value;
            asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];"
                         : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                         : "l"(loads + i));
            all += value.x + value.y + value.z + value.w;
        }
    if (all == 1.5f) out[threadIdx.x] = all;
}

// Each load's address is what the one before has read: latency of memory.
extern "C" __global__ void chase(int *out, const int *next, int steps) {
    int at = 0;
    for (int i = 0; i < steps; i++) at = next[at];
    out[0] = at;
}
