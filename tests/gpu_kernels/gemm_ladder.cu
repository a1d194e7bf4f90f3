// Three steps of a float32 matrix product, to hold the model of speed against: their like was published with times on
// an RTX A6000 (4096^3: 15.97, 18.24 and 21.78 TFLOP/s). Sizes are multiples of 128. VARIANT 1: scalar copies, A as it
// lies; 2: vector copies, A transposed; 3: tiles of warps, a thread 8 x 16. No double buffer in any of them.
extern "C" __global__ void __launch_bounds__(VARIANT == 3 ? 128 : 256)
    ladder(const float *__restrict__ A, const float *__restrict__ B, float *__restrict__ C, int M, int N, int K) {
#if VARIANT == 1
    __shared__ __align__(16) float as[128 * 8], bs[8 * 128];
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    A += blockIdx.y * 128 * K;
    B += blockIdx.x * 128;
    C += (blockIdx.y * 128) * N + blockIdx.x * 128;
    const int ra = threadIdx.x / 8, ca = threadIdx.x % 8, rb = threadIdx.x / 128, cb = threadIdx.x % 128;
    float s[64] = {0};
    __align__(16) float m[8], n[8];
    for (int k0 = 0; k0 < K; k0 += 8) {
        for (int o = 0; o < 128; o += 32) as[(ra + o) * 8 + ca] = A[(ra + o) * K + ca];
        for (int o = 0; o < 8; o += 2) bs[(rb + o) * 128 + cb] = B[(rb + o) * N + cb];
        __syncthreads();
        A += 8;
        B += 8 * N;
        for (int k = 0; k < 8; k++) {
            for (int i = 0; i < 8; i++) m[i] = as[(ty * 8 + i) * 8 + k];
            *(float4 *)n = *(float4 *)&bs[k * 128 + tx * 8];
            *(float4 *)(n + 4) = *(float4 *)&bs[k * 128 + tx * 8 + 4];
            for (int i = 0; i < 8; i++)
                for (int j = 0; j < 8; j++) s[i * 8 + j] += m[i] * n[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) C[(ty * 8 + i) * N + tx * 8 + j] = s[i * 8 + j];
#elif VARIANT == 2
    __shared__ __align__(16) float as[8 * 128], bs[8 * 128];
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    A += blockIdx.y * 128 * K;
    B += blockIdx.x * 128;
    C += (blockIdx.y * 128) * N + blockIdx.x * 128;
    const int ra = threadIdx.x / 2, ca = threadIdx.x % 2, rb = threadIdx.x / 32, cb = threadIdx.x % 32;
    float s[64] = {0};
    __align__(16) float m[8], n[8];
    for (int k0 = 0; k0 < K; k0 += 8) {
        float4 t = *(const float4 *)&A[ra * K + ca * 4];
        as[(ca * 4 + 0) * 128 + ra] = t.x;
        as[(ca * 4 + 1) * 128 + ra] = t.y;
        as[(ca * 4 + 2) * 128 + ra] = t.z;
        as[(ca * 4 + 3) * 128 + ra] = t.w;
        *(float4 *)&bs[rb * 128 + cb * 4] = *(const float4 *)&B[rb * N + cb * 4];
        __syncthreads();
        A += 8;
        B += 8 * N;
        for (int k = 0; k < 8; k++) {
            *(float4 *)m = *(float4 *)&as[k * 128 + ty * 8];
            *(float4 *)(m + 4) = *(float4 *)&as[k * 128 + ty * 8 + 4];
            *(float4 *)n = *(float4 *)&bs[k * 128 + tx * 8];
            *(float4 *)(n + 4) = *(float4 *)&bs[k * 128 + tx * 8 + 4];
            for (int i = 0; i < 8; i++)
                for (int j = 0; j < 8; j++) s[i * 8 + j] += m[i] * n[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j += 4) {
            float4 t = {s[i * 8 + j], s[i * 8 + j + 1], s[i * 8 + j + 2], s[i * 8 + j + 3]};
            *(float4 *)&C[(ty * 8 + i) * N + tx * 8 + j] = t;
        }
#else
    // 128 x 128 x 16, 128 threads, 4 warps of 64 x 64, a warp does 4 columns of 64 x 16, a thread 8 x 4 of each
    __shared__ __align__(16) float as[16 * 128], bs[16 * 128];
    const int w = threadIdx.x / 32, l = threadIdx.x % 32, wr = w / 2 * 64, wc = w % 2 * 64, tr = l / 4 * 8,
              tc = l % 4 * 4;
    A += blockIdx.y * 128 * K;
    B += blockIdx.x * 128;
    C += (blockIdx.y * 128) * N + blockIdx.x * 128;
    const int ra = threadIdx.x / 4, ca = threadIdx.x % 4, rb = threadIdx.x / 32, cb = threadIdx.x % 32;
    float s[4][32] = {{0}};
    __align__(16) float m[8], n[4][4];
    for (int k0 = 0; k0 < K; k0 += 16) {
        for (int o = 0; o < 128; o += 32) {
            float4 t = *(const float4 *)&A[(ra + o) * K + ca * 4];
            as[(ca * 4 + 0) * 128 + ra + o] = t.x;
            as[(ca * 4 + 1) * 128 + ra + o] = t.y;
            as[(ca * 4 + 2) * 128 + ra + o] = t.z;
            as[(ca * 4 + 3) * 128 + ra + o] = t.w;
        }
        for (int o = 0; o < 16; o += 4)
            *(float4 *)&bs[(rb + o) * 128 + cb * 4] = *(const float4 *)&B[(rb + o) * N + cb * 4];
        __syncthreads();
        A += 16;
        B += 16 * N;
        for (int k = 0; k < 16; k++) {
            *(float4 *)m = *(float4 *)&as[k * 128 + wr + tr];
            *(float4 *)(m + 4) = *(float4 *)&as[k * 128 + wr + tr + 4];
            for (int c = 0; c < 4; c++) *(float4 *)n[c] = *(float4 *)&bs[k * 128 + wc + c * 16 + tc];
            for (int c = 0; c < 4; c++)
                for (int i = 0; i < 8; i++)
                    for (int j = 0; j < 4; j++) s[c][i * 4 + j] += m[i] * n[c][j];
        }
        __syncthreads();
    }
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 8; i++) {
            float4 t = {s[c][i * 4], s[c][i * 4 + 1], s[c][i * 4 + 2], s[c][i * 4 + 3]};
            *(float4 *)&C[(wr + tr + i) * N + wc + c * 16 + tc] = t;
        }
#endif
}
