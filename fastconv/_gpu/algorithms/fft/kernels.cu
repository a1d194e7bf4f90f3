// What stands around Fourier transforms: tiles of arrays, products of spectra, and results of tiles.
//
// Formula. A tile has `length` elements on each axis. With conj(B) for the spectrum of a kernel b, whose extent on an
// axis is e, the product of spectra A conj(B) is that of the correlation sum over s of a[j + s] b[s], of which the
// first length - e elements are right: to the others, sums come round from the tile's begin (overlap-save).
//     load      tile[r, j] = array[r, start + j], 0 outside of the array; or array[r, j / step] where step divides j
//     multiply  C[a, b, f] = sum over r of A[a, r, f] conj(B[b, r, f]), or C += that
//     store     array[r, start + v] = f(scale tile[r, step v]), where f adds the bias and another array and applies an
//               activation
//
// Layout. Tiles lie one behind the other, rows padded to `pitch` real numbers, so that a spectrum takes the place of what
// it is of. Arrays have any strides. Threads lie along a tile's rows and along the frequencies.
// Preconditions. Fewer than 2^31 tiles, rows (tiles times channels) and elements of a tile.
// Numerics. Everything is computed in fc_sum (vectors.cuh), results are rounded once. `marks`: a byte for every block of
// a launch of store is 1 if something that it computed is not finite, before f, else 0.
#define LOAD 0
#define MULTIPLY 1
#define STORE 2

struct fc_tiles {
    long long stride[5], add_stride[5]; // n, channel, and the axes in the tiles' order
    long long pitch, plane, size;       // real numbers from row to row, from plane to plane, from tile to tile
    long long start_at;                 // load: the first element
    long long first_mark;
    int array_size[3], count[3];   // elements of the array; of a tile, that are computed
    int used[3];                   // load: elements of a tile behind these are zeros
    int before[3], apart[3];       // tile t of an axis begins at t * apart - before
    int step[3];
    int channels, first_tile, units; // units: tiles times runs of ROWS channels
    fc_divider count_plane, count_row;
    fc_divider image, tiles_plane, tiles_row, runs; // tiles of an image, of its plane, of its row; runs of a tile
    fc_divider steps[3];
    double slope; // of leaky_relu
    double scale;
};

#if KERNEL != MULTIPLY
struct fc_unit {
    int n, start[3], tile, channel;
};
static __device__ __forceinline__ fc_unit fc_unit_of(int unit, const fc_tiles &c) {
    fc_unit u;
    u.tile = fc_quotient(unit, c.runs);
    u.channel = (unit - u.tile * (int)c.runs.d) * ROWS;
    int at = c.first_tile + u.tile;
    u.n = fc_quotient(at, c.image);
    at -= u.n * (int)c.image.d;
    u.start[0] = fc_quotient(at, c.tiles_plane);
    at -= u.start[0] * (int)c.tiles_plane.d;
    u.start[1] = fc_quotient(at, c.tiles_row);
    u.start[2] = at - u.start[1] * (int)c.tiles_row.d;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) u.start[axis] = u.start[axis] * c.apart[axis] - c.before[axis];
    return u;
}
static __device__ __forceinline__ void fc_element_of(int i, const fc_tiles &c, int (&at)[3]) {
    at[0] = fc_quotient(i, c.count_plane);
    i -= at[0] * (int)c.count_plane.d;
    at[1] = fc_quotient(i, c.count_row);
    at[2] = i - at[1] * (int)c.count_row.d;
}
#endif

#if KERNEL == LOAD
extern "C" __global__ void __launch_bounds__(256, 3)
    fft_load(const fc_element *__restrict__ array, fc_sum *__restrict__ tiles, const __grid_constant__ fc_tiles c) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= c.count[0] * c.count[1] * c.count[2]) return;
    int at[3];
    fc_element_of(i, c, at);
    tiles += at[0] * c.plane + at[1] * c.pitch + at[2];
    bool used = true;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const int element = fc_quotient(at[axis], c.steps[axis]);
        used &= at[axis] < c.used[axis] && element * c.step[axis] == at[axis];
        at[axis] = element;
    }
    for (int unit = blockIdx.y; unit < c.units; unit += gridDim.y) {
        const fc_unit u = fc_unit_of(unit, c);
        long long from = c.start_at + u.n * c.stride[0] + u.channel * c.stride[1];
        bool inside = used;
#pragma unroll
        for (int axis = 0; axis < 3; axis++) {
            const int place = u.start[axis] + at[axis];
            inside &= (fc_u32)place < (fc_u32)c.array_size[axis];
            from += place * c.stride[2 + axis];
        }
        fc_sum x[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            x[r] = inside && u.channel + r < c.channels ? fc_widen(array[from + r * c.stride[1]]) : fc_sum(0);
        fc_sum *to = tiles + (u.tile * (long long)c.channels + u.channel) * c.size;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (u.channel + r < c.channels) to[r * c.size] = x[r];
    }
}
#endif

#if KERNEL == STORE
extern "C" __global__ void __launch_bounds__(256, 3)
    fft_store(const fc_sum *tiles, fc_element *array, const fc_element *bias, const fc_element *add, fc_u8 *marks,
              const __grid_constant__ fc_tiles c) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    bool finite = true;
    int at[3];
    fc_element_of(i, c, at);
    const bool any = i < c.count[0] * c.count[1] * c.count[2];
    tiles += at[0] * c.step[0] * c.plane + at[1] * c.step[1] * c.pitch + at[2] * c.step[2];
    for (int unit = blockIdx.y; unit < c.units; unit += gridDim.y) {
        const fc_unit u = fc_unit_of(unit, c);
        long long to = u.n * c.stride[0] + u.channel * c.stride[1];
        long long added = u.n * c.add_stride[0] + u.channel * c.add_stride[1];
        bool inside = any;
#pragma unroll
        for (int axis = 0; axis < 3; axis++) {
            const int place = u.start[axis] + at[axis];
            inside &= place < c.array_size[axis];
            to += place * c.stride[2 + axis];
            added += place * c.add_stride[2 + axis];
        }
        if (!inside) continue;
        const fc_sum *from = tiles + (u.tile * (long long)c.channels + u.channel) * c.size;
        fc_sum x[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (u.channel + r >= c.channels) continue;
            x[r] = from[r * c.size] * (fc_sum)c.scale;
            finite &= x[r] - x[r] == 0;
            if (bias) x[r] = fc_plus(x[r], fc_widen(bias[u.channel + r]));
            if (add) x[r] = fc_plus(x[r], fc_widen(add[added + r * c.add_stride[1]]));
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (u.channel + r < c.channels) array[to + r * c.stride[1]] = fc_narrow(fc_activate(x[r], (fc_sum)c.slope));
    }
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) marks[c.first_mark + blockIdx.y * (long long)gridDim.x + blockIdx.x] = !finite;
}
#endif

#if KERNEL == MULTIPLY
struct fc_spectra {
    long long a_stride[3], b_stride[3], c_stride[3]; // complex numbers; group, a, r; group, b, r; group, a, b
    int groups, a, b, depth, frequencies;
    fc_divider b_tiles, ab_tiles; // tiles of TB along b; tiles of a group
    int units;
};
struct __align__(2 * sizeof(fc_sum)) fc_number {
    fc_sum re, im;
};

// A thread has a frequency of TA x TB products.
extern "C" __global__ void __launch_bounds__(128, sizeof(fc_sum) == 8 ? 3 : 4)
    fft_multiply(const fc_number *__restrict__ a, const fc_number *__restrict__ b, fc_number *c, int adds,
                 const __grid_constant__ fc_spectra s) {
    const int f = blockIdx.x * blockDim.x + threadIdx.x;
    if (f >= s.frequencies) return;
    for (int unit = blockIdx.y; unit < s.units; unit += gridDim.y) {
        const int group = fc_quotient(unit, s.ab_tiles), tile = unit - group * (int)s.ab_tiles.d;
        const int tile_a = fc_quotient(tile, s.b_tiles), first_a = tile_a * TA;
        const int first_b = (tile - tile_a * (int)s.b_tiles.d) * TB;
        const fc_number *from_a = a + (group * s.a_stride[0] + f), *from_b = b + (group * s.b_stride[0] + f);
        fc_number *to = c + (group * s.c_stride[0] + first_a * s.c_stride[1] + first_b * s.c_stride[2] + f);
        fc_number sum[TA][TB];
#pragma unroll
        for (int i = 0; i < TA; i++)
#pragma unroll
            for (int j = 0; j < TB; j++) {
                const bool there = adds && first_a + i < s.a && first_b + j < s.b;
                sum[i][j] = there ? to[i * s.c_stride[1] + j * s.c_stride[2]] : fc_number{0, 0};
            }
        for (int r = 0; r < s.depth; r++, from_a += s.a_stride[2], from_b += s.b_stride[2]) {
            fc_number x[TA], y[TB];
#pragma unroll
            for (int i = 0; i < TA; i++) x[i] = from_a[min(first_a + i, s.a - 1) * s.a_stride[1]];
#pragma unroll
            for (int j = 0; j < TB; j++) y[j] = from_b[min(first_b + j, s.b - 1) * s.b_stride[1]];
#pragma unroll
            for (int i = 0; i < TA; i++)
#pragma unroll
                for (int j = 0; j < TB; j++) {
                    sum[i][j].re = fc_fma(x[i].im, y[j].im, fc_fma(x[i].re, y[j].re, sum[i][j].re));
                    sum[i][j].im = fc_fma(-x[i].re, y[j].im, fc_fma(x[i].im, y[j].re, sum[i][j].im));
                }
        }
#pragma unroll
        for (int i = 0; i < TA; i++)
#pragma unroll
            for (int j = 0; j < TB; j++)
                if (first_a + i < s.a && first_b + j < s.b) to[i * s.c_stride[1] + j * s.c_stride[2]] = sum[i][j];
    }
}
#endif
