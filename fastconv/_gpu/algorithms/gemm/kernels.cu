// What stands around products of matrices: columns of an image for each of its pixels, and their sums.
//
// Formula. Pixel p of an axis reads, through tap t, the element p*step + t*delta - before of the image.
//     unfold   columns[n, c, t, p] = image[n, c, p*step + t*delta - before], 0 outside of the image
//     fold     image[n, c, i] = f(sum over p, t with p*step + t*delta - before == i of columns[n, c, t, p])
//     finish   image[n, c, i] = f(sum over t of columns[n, c, t, i])
// where f adds the bias and another array and applies an activation. With one tap, unfold copies an array to where a
// matrix is wanted; what finish adds are partial sums.
//
// Layout. Images have any strides, columns those of `column_stride`. Threads lie side by side along the pixels
// (ALONG == PIXELS) or along the channels, where these are side by side in memory. A thread's ROWS elements are of
// consecutive channels of a pixel, or of consecutive pixels of a channel, or, where channels are few, of consecutive
// taps of one of the rows of TAP_RUNS taps: what is common to them is worked out once.
// Preconditions. Fewer than 2^31 pixels of all images, and fewer than 2^31 channels times taps.
// Numerics. Sums run over the taps in ascending order, in fc_sum (vectors.cuh), and are rounded once.
#define PIXELS 0
#define CHANNELS 1
#define UNFOLD 0
#define FOLD 1
#define FINISH 2

struct fc_columns {
    long long image_at, add_at, column_at;    // the first elements
    long long image_stride[5], add_stride[5]; // n, channel, d, h, w
    long long column_stride[5];               // image, group, channel of the group, tap, pixel
    int image_size[3];
    int pixels[3], taps[3], step[3], delta[3], before[3];
    int rows, columns; // unfold: channels times taps, pixels of all images; fold: channels, elements of all images
    int units;         // that blocks take one by one: runs of ROWS channels, or of ROWS columns
    fc_divider image, plane, row;             // elements of `columns` of an image, of its plane, of its row
    fc_divider channels, tap_count, tap_plane, tap_row; // channels of a group, taps, taps of a plane, of a row
    fc_divider steps[3];
    fc_divider runs; // of ROWS channels, of a group; TAP_RUNS: planes of taps
    double slope;    // of leaky_relu
};

struct fc_place {
    int n, at[3];
};
static __device__ __forceinline__ fc_place fc_pixel(int i, const fc_columns &c) {
    fc_place p;
    p.n = fc_quotient(i, c.image);
    i -= p.n * (int)c.image.d;
    p.at[0] = fc_quotient(i, c.plane);
    i -= p.at[0] * (int)c.plane.d;
    p.at[1] = fc_quotient(i, c.row);
    p.at[2] = i - p.at[1] * (int)c.row.d;
    return p;
}

static __device__ __forceinline__ long long fc_at(const fc_place &i, const long long (&stride)[5]) {
    return i.n * stride[0] + i.at[0] * stride[2] + i.at[1] * stride[3] + i.at[2] * stride[4];
}
#define FC_EACH_UNIT(unit) for (int unit = blockIdx.y; unit < c.units; unit += gridDim.y)
// All that a thread loads comes before what it stores, so that it waits for memory once.
#define FC_EACH_ROW(i) _Pragma("unroll") for (int i = 0; i < ROWS; i++)

#if KERNEL == UNFOLD
struct fc_row {
    int group, channel, t[3], tap;
};
static __device__ __forceinline__ fc_row fc_row_of(int group_tap, int channel, const fc_columns &c) {
    fc_row r;
    r.group = fc_quotient(group_tap, c.tap_count), r.channel = channel;
    r.tap = group_tap - r.group * (int)c.tap_count.d;
    r.t[0] = fc_quotient(r.tap, c.tap_plane);
    const int in_plane = r.tap - r.t[0] * (int)c.tap_plane.d;
    r.t[1] = fc_quotient(in_plane, c.tap_row);
    r.t[2] = in_plane - r.t[1] * (int)c.tap_row.d;
    return r;
}

// A pixel's element for a row, and whether it lies in the image.
static __device__ __forceinline__ bool fc_find(const fc_place &p, const fc_row &r, const fc_columns &c,
                                               long long &from) {
    bool inside = true;
    from = p.n * c.image_stride[0] + (r.group * (long long)c.channels.d + r.channel) * c.image_stride[1];
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const int at = p.at[axis] * c.step[axis] + r.t[axis] * c.delta[axis] - c.before[axis];
        inside &= (fc_u32)at < (fc_u32)c.image_size[axis];
        from += at * c.image_stride[2 + axis];
    }
    return inside;
}
static __device__ __forceinline__ bool fc_find_rows(const fc_place &p, const fc_row &r, const fc_columns &c) {
    bool inside = true;
#pragma unroll
    for (int axis = 0; axis < 2; axis++)
        inside &= (fc_u32)(p.at[axis] * c.step[axis] + r.t[axis] * c.delta[axis] - c.before[axis]) <
                  (fc_u32)c.image_size[axis];
    return inside;
}
static __device__ __forceinline__ long long fc_column_at(const fc_row &r, const fc_columns &c) {
    return r.group * c.column_stride[1] + r.channel * c.column_stride[2] + r.tap * c.column_stride[3];
}

extern "C" __global__ void __launch_bounds__(256, TAP_RUNS ? 5 : 6)
    gemm_unfold(const fc_element *__restrict__ image, fc_element *__restrict__ columns,
                const __grid_constant__ fc_columns c) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    image += c.image_at;
    fc_element x[ROWS];
#if ALONG == PIXELS
    if (thread >= c.columns) return;
    const fc_place p = fc_pixel(thread, c);
    columns += p.n * c.column_stride[0] + (thread - p.n * (int)c.image.d) * c.column_stride[4];
#if TAP_RUNS
    const long long tap_step = c.delta[2] * c.image_stride[4], line_step = c.delta[1] * c.image_stride[3];
    FC_EACH_UNIT(unit) { // of a plane of taps of a channel
        const int all = fc_quotient(unit, c.runs), group = fc_quotient(all, c.channels);
        const int depth = unit - all * (int)c.runs.d;
        const fc_row r = {group, all - group * (int)c.channels.d, {depth, 0, 0}, depth * (int)c.tap_plane.d};
        const bool is_plane = (fc_u32)(p.at[0] * c.step[0] + depth * c.delta[0] - c.before[0]) < (fc_u32)c.image_size[0];
        long long line;
        fc_find(p, r, c, line);
        fc_element *to = columns + fc_column_at(r, c);
        int y = p.at[1] * c.step[1] - c.before[1];
#pragma unroll 1
        for (int h = 0; h < c.taps[1]; h++, y += c.delta[1], line += line_step) {
            const bool is_line = is_plane && (fc_u32)y < (fc_u32)c.image_size[1];
            const fc_element *from = image + line;
            int at = p.at[2] * c.step[2] - c.before[2];
#pragma unroll
            for (int left = TAP_RUNS; left > 0; left -= ROWS) {
                FC_EACH_ROW(i) {
                    if (i >= left) break;
                    x[i] = is_line && (fc_u32)at < (fc_u32)c.image_size[2] ? *from : fc_element(0);
                    at += c.delta[2], from += tap_step;
                }
                FC_EACH_ROW(i) {
                    if (i >= left) break;
                    *to = x[i];
                    to += c.column_stride[3];
                }
            }
        }
    }
#else
    FC_EACH_UNIT(unit) {
        const int group_tap = fc_quotient(unit, c.runs), channel = (unit - group_tap * (int)c.runs.d) * ROWS;
        const int count = c.channels.d - channel;
        const fc_row r = fc_row_of(group_tap, channel, c);
        long long from;
        const bool inside = fc_find(p, r, c, from);
        FC_EACH_ROW(i) x[i] = inside && i < count ? image[from + i * c.image_stride[1]] : fc_element(0);
        fc_element *to = columns + fc_column_at(r, c);
        FC_EACH_ROW(i) if (i < count) to[i * c.column_stride[2]] = x[i];
    }
#endif
#else
    if (thread >= c.rows) return;
    const int group_tap = fc_quotient(thread, c.channels);
    const fc_row r = fc_row_of(group_tap, thread - group_tap * (int)c.channels.d, c);
    columns += fc_column_at(r, c);
    FC_EACH_UNIT(unit) {
        const int first = unit * ROWS, count = c.columns - first;
        fc_place p = fc_pixel(first, c);
        long long from;
        bool inside = fc_find(p, r, c, from);
        FC_EACH_ROW(i) {
            x[i] = inside && i < count ? image[from] : fc_element(0);
            if (++p.at[2] < c.row.d) { // the next one of the row: other axes stay
                const int at = p.at[2] * c.step[2] + r.t[2] * c.delta[2] - c.before[2];
                inside = fc_find_rows(p, r, c) && (fc_u32)at < (fc_u32)c.image_size[2];
                from += c.step[2] * c.image_stride[4];
            } else {
                p = fc_pixel(first + i + 1, c);
                inside = fc_find(p, r, c, from);
            }
        }
        FC_EACH_ROW(i) if (i < count) columns[(first + i) * c.column_stride[4]] = x[i];
    }
#endif
}
#else

// sum[i] += the columns of an element's channels; `from` is the first channel's first column.
template <int N>
static __device__ __forceinline__ void fc_add_columns(fc_sum (&sum)[N], const fc_sum *from, const fc_place &place,
                                                      int in_image, int count, const fc_columns &c) {
#if KERNEL == FINISH
    from += in_image * c.column_stride[4];
    for (int t = 0; t < c.tap_count.d; t++, from += c.column_stride[3])
#pragma unroll
        for (int i = 0; i < N; i++)
            if (i < count) sum[i] = fc_plus(sum[i], from[i * c.column_stride[2]]);
#else
    auto pixel_of = [&](int axis, int tap) { // that reads the element through the tap, or -1
        const int there = place.at[axis] + c.before[axis] - tap * c.delta[axis];
        const int p = there < 0 ? 0 : fc_quotient(there, c.steps[axis]);
        return there == p * c.step[axis] && p < c.pixels[axis] ? p : -1;
    };
    for (int i = 0; i < c.taps[0]; i++) {
        const int d = pixel_of(0, i);
        if (d < 0) continue;
        for (int j = 0; j < c.taps[1]; j++) {
            const int h = pixel_of(1, j);
            if (h < 0) continue;
            for (int k = 0; k < c.taps[2]; k++) {
                const int w = pixel_of(2, k), tap = (i * c.taps[1] + j) * c.taps[2] + k;
                const int pixel = (d * c.pixels[1] + h) * c.pixels[2] + w;
                const fc_sum *column = from + tap * c.column_stride[3] + pixel * c.column_stride[4];
                fc_sum x[N];
#pragma unroll
                for (int e = 0; e < N; e++) x[e] = w >= 0 && e < count ? column[e * c.column_stride[2]] : fc_sum(0);
#pragma unroll
                for (int e = 0; e < N; e++) sum[e] = fc_plus(sum[e], x[e]);
            }
        }
    }
#endif
}

// Blocks of a multiprocessor, as many as there are registers for without spilling any.
#define RESIDENT (KERNEL == FINISH && ALONG == PIXELS && sizeof(fc_sum) == 4 && __CUDA_ARCH__ < 1000 ? 6 : 4)
extern "C" __global__ void __launch_bounds__(256, RESIDENT)
    gemm_fold(const fc_sum *columns, fc_element *image, const fc_element *bias, const fc_element *add,
              const __grid_constant__ fc_columns c) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    columns += c.column_at, image += c.image_at;
    if (add) add += c.add_at;
#if ALONG == PIXELS
    if (thread >= c.columns) return;
    const fc_place p = fc_pixel(thread, c);
    const int in_image = thread - p.n * (int)c.image.d;
    columns += p.n * c.column_stride[0], image += fc_at(p, c.image_stride);
    if (add) add += fc_at(p, c.add_stride);
    FC_EACH_UNIT(unit) {
        const int group = fc_quotient(unit, c.runs), in_group = (unit - group * (int)c.runs.d) * ROWS;
        const int channel = group * c.channels.d + in_group, count = c.channels.d - in_group;
        fc_sum sum[ROWS] = {};
        fc_add_columns(sum, columns + (group * c.column_stride[1] + in_group * c.column_stride[2]), p, in_image, count,
                       c);
        FC_EACH_ROW(i) if (i < count) {
            if (bias) sum[i] = fc_plus(sum[i], fc_widen(bias[channel + i]));
            if (add) sum[i] = fc_plus(sum[i], fc_widen(add[(channel + i) * c.add_stride[1]]));
        }
        FC_EACH_ROW(i) if (i < count)
            image[(channel + i) * c.image_stride[1]] = fc_narrow(fc_activate(sum[i], (fc_sum)c.slope));
    }
#else
    if (thread >= c.rows) return;
    const int group = fc_quotient(thread, c.channels), in_group = thread - group * (int)c.channels.d;
    columns += group * c.column_stride[1] + in_group * c.column_stride[2], image += thread * c.image_stride[1];
    if (add) add += thread * c.add_stride[1];
    const fc_sum shift = bias ? fc_widen(bias[thread]) : fc_sum(0);
    FC_EACH_UNIT(unit) {
        const int first = unit * ROWS, count = c.columns - first;
        fc_sum sum[ROWS];
        FC_EACH_ROW(i) if (i < count) {
            const fc_place p = fc_pixel(first + i, c);
            fc_sum one[1] = {};
            fc_add_columns(one, columns + p.n * c.column_stride[0], p, first + i - p.n * (int)c.image.d, 1, c);
            if (bias) one[0] = fc_plus(one[0], shift);
            if (add) one[0] = fc_plus(one[0], fc_widen(add[fc_at(p, c.add_stride)]));
            sum[i] = one[0];
        }
        FC_EACH_ROW(i) if (i < count)
            image[fc_at(fc_pixel(first + i, c), c.image_stride)] = fc_narrow(fc_activate(sum[i], (fc_sum)c.slope));
    }
#endif
}
#endif
