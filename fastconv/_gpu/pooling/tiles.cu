// Maxima and averages of windows of few elements, all loops unrolled. See windows.cuh; what is not here is in
// gather.cu.
//
// A unit is one thread's: ROWS outputs under each other in COLUMNS neighbouring columns, of VECTOR channels that are
// neighbours in memory. A row of the source is loaded once, LOADED elements along w at a time, from LEAD elements
// before the first window on; STORED results along w are stored at once. One of VECTOR and LOADED is 1.
//
// Maxima are those of rows first, then of these under each other, so that each is found once for all windows that have
// it. The order of elements stays: of equals the first one is taken. NaN is looked for beside that; a unit that has met
// one is computed again, element by element, since the last one is to be found. So are averages that are very small.
//
// Elements of 16 bits are compared in pairs, where there are instructions: those of two columns, or of two channels.
//
// I0.. whether all windows of an axis lie inside, with those of units that reach beyond the results; WHOLE: none does.
// PLACES: whether there are any. UNIT: neighbours along w are neighbours in memory.
#define SPAN ((COLUMNS - 1) * S2 + (T2 - 1) * D2 + 1)
#define LEAD ((LOADED - P2 % LOADED) % LOADED)
#define LOADS ((LEAD + SPAN - 1) / LOADED + 1)
#if MAXIMUM && !PLACES && (ELEMENT == FLOAT16 || (ELEMENT == BFLOAT16 && __CUDA_ARCH__ >= 900)) &&                     \
    !defined(INTEGER) && (VECTOR % 2 == 0 || (COLUMNS % 2 == 0 && LOADED % 2 == 0))
#define PAIRED 1
#else
#define PAIRED 0
#endif
#define APART (PAIRED && VECTOR == 1 ? 2 : 1)              // columns of neighbouring cells
#define CELLS (PAIRED && VECTOR > 1 ? VECTOR / 2 : VECTOR) // of a column, along the channels
#define PITCH(stride) ((fc_index)(stride) * (fc_index)sizeof(value_t))

template <typename T> static __device__ __forceinline__ T *fc_step(T *from, fc_index pitch, int i) {
    return (T *)((const char *)from + (long long)i * pitch);
}

// Whether element `e` of the span is in a window, or one of a load is.
static __device__ constexpr bool fc_is_read(int e) {
    for (int c = 0; c < COLUMNS; c++)
        if (e >= c * S2 && (e - c * S2) % D2 == 0 && (e - c * S2) / D2 < T2) return true;
    return false;
}
static __device__ constexpr bool fc_is_loaded(int load) {
    for (int i = 0; i < LOADED; i++)
        if (fc_is_read(load * LOADED + i - LEAD)) return true;
    return false;
}

static __device__ constexpr int fc_reads() {
    int count = 0;
    for (int e = 0; e < SPAN; e++) count += fc_is_read(e);
    return count;
}
// The `number`-th element that is read, or the last one.
static __device__ constexpr int fc_read(int number) {
    int last = 0;
    for (int e = 0; e < SPAN && number >= 0; e++)
        if (fc_is_read(e)) last = e, number--;
    return last;
}

// What is compared at once: an element, or a pair of them in a word.
#if PAIRED
typedef fc_u32 cell_t;
#else
typedef sum_t cell_t;
#endif

// The elements of a row that a unit reads; pairs as they lie in memory.
struct fc_line {
    static constexpr int size = LOADED * VECTOR / (PAIRED ? 2 : 1); // of a load
    cell_t v[LOADS * size];
    // `from`: the place of column `left`, which is LEAD elements before the first window.
    __device__ __forceinline__ void load(const value_t *from, bool inside, int left, const fc_pool &p) {
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            if (!fc_is_loaded(i)) continue;
            const bool there = inside && (I2 || (fc_u32)(left + i * LOADED) < (fc_u32)p.axis[2].size);
            const value_t *at = UNIT ? from + i * LOADED : from + (fc_index)(i * LOADED) * (fc_index)p.source_stride[4];
            cell_t part[size];
#if PAIRED
            fc_get_words(there, at, part);
#else
            fc_get_if<LOADED * VECTOR>(there, at, part);
#endif
#pragma unroll
            for (int j = 0; j < size; j++) v[i * size + j] = part[j];
        }
    }
    // One, or that and the one S2 elements behind it.
    __device__ __forceinline__ cell_t cell(int e, int j) const {
#if PAIRED && VECTOR == 1
        const int first = LEAD + e, second = first + S2;
        return S2 == 1 && first % 2 == 0 ? v[first / 2]
                                         : __byte_perm(v[first / 2], v[second / 2],
                                                       (first % 2 ? 0x32 : 0x10) | (second % 2 ? 0x7600 : 0x5400));
#else
        return v[(LEAD + e) * CELLS + j];
#endif
    }
#if MAXIMUM && !defined(INTEGER)
    // Sets `found` to something but 0 if one is NaN, from the `I`-th on of those that are read.
    template <int I = 0> __device__ __forceinline__ void note_nan(fc_u32 &found) const {
#if PAIRED && VECTOR == 1
        // Pairs of neighbours; with a pair of which only one is read, another one is looked at.
#pragma unroll
        for (int i = LEAD / 2; i <= (LEAD + SPAN - 1) / 2; i++)
            if (fc_is_loaded(2 * i / LOADED)) found |= fc_are_nan<ELEMENT == BFLOAT16>(v[i], v[i]);
#else
        if constexpr (I < fc_reads() * CELLS) {
#if PAIRED
            found |= fc_are_nan<ELEMENT == BFLOAT16>(nth<I>(), nth<I + 1>());
            note_nan<I + 2>(found);
#else
            fc_note_nan(found, nth<I>(), nth<I + 1>(), nth<I + 2>(), nth<I + 3>());
            note_nan<I + 4>(found);
#endif
        }
#endif
    }
    template <int I> __device__ __forceinline__ cell_t nth() const {
        constexpr int at = (LEAD + fc_read(I / CELLS)) * CELLS + I % CELLS;
        return v[at];
    }
#endif
};

#if MAXIMUM
struct fc_best {
    cell_t value[CELLS];
    int where[CELLS];
    __device__ __forceinline__ void take(const fc_best &other) {
#pragma unroll
        for (int v = 0; v < CELLS; v++) {
#if PAIRED
            const fc_u32 larger = fc_are_larger<ELEMENT == BFLOAT16>(other.value[v], value[v]);
            value[v] = (larger & other.value[v]) | (~larger & value[v]);
#elif PLACES
            fc_take(value[v], where[v], other.value[v], other.where[v]);
#else
            fc_take(value[v], other.value[v]);
#endif
        }
    }
};
struct fc_best_row {
    fc_best of[COLUMNS / APART];
    __device__ __forceinline__ void take(const fc_best_row &other) {
#pragma unroll
        for (int c = 0; c < COLUMNS / APART; c++) of[c].take(other.of[c]);
    }
};

// Shows element `e` of a line to those of COUNT windows along it that have it. With SHARED, what two neighbours both
// have is found by the second one, which the first one then takes.
template <int COUNT, int STEP, int TAPS, int DISTANCE, bool SHARED, typename Best>
static __device__ __forceinline__ void fc_show(Best (&best)[COUNT], const Best &next, int e, bool is_first = true) {
#pragma unroll
    for (int r = COUNT - 1; r >= 0; r--) {
        const int at = e - r * STEP;
        if (at < 0 || at % DISTANCE || at / DISTANCE >= TAPS) continue;
        if (SHARED && r % 2 == 0 && r + 1 < COUNT && at >= STEP) {
            if (at == TAPS - 1) best[r].take(best[r + 1]);
        } else if (at == 0 && is_first) {
            best[r] = next;
        } else {
            best[r].take(next);
        }
    }
}
#endif

struct fc_results {
#if MAXIMUM
    fc_best_row row[ROWS];
    fc_u32 has_nan = 0;
    __device__ __forceinline__ void add(const fc_line &line, int z, int y, int place) {
        fc_best_row next;
#pragma unroll
        for (int e = 0; e < SPAN; e++) {
            bool is_first = false; // of the elements of a window, or of a pair of windows
#pragma unroll
            for (int c = 0; c < COLUMNS; c += APART)
                is_first |= e >= c * S2 && (e - c * S2) % D2 == 0 && (e - c * S2) / D2 < T2;
            if (!is_first) continue;
            fc_best one;
#pragma unroll
            for (int v = 0; v < CELLS; v++) one.value[v] = line.cell(e, v), one.where[v] = e;
            fc_show<COLUMNS / APART, S2 * APART, T2, D2, D2 == 1>(next.of, one, e);
        }
        if (PLACES)
#pragma unroll
            for (int c = 0; c < COLUMNS / APART; c++)
#pragma unroll
                for (int v = 0; v < CELLS; v++) next.of[c].where[v] += place;
        fc_show<ROWS, S1, T1, D1, D1 == 1 && T0 == 1>(row, next, y, z == 0);
#ifndef INTEGER
        line.template note_nan<>(has_nan);
#endif
    }
    __device__ __forceinline__ cell_t value(int r, int c, int v) const { return row[r].of[c].value[v]; }
#else
    sum_t sum[ROWS * COLUMNS * VECTOR] = {};
    __device__ __forceinline__ void add(const fc_line &line, int, int y, int) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (y < r * S1 || (y - r * S1) % D1 || (y - r * S1) / D1 >= T1) continue;
#pragma unroll
            for (int x = 0; x < T2; x++)
#pragma unroll
                for (int c = 0; c < COLUMNS; c++)
#pragma unroll
                    for (int v = 0; v < VECTOR; v++) {
                        sum_t &s = sum[(r * COLUMNS + c) * VECTOR + v];
                        s = fc_add(s, line.cell(c * S2 + x * D2, v));
                    }
        }
    }
    __device__ __forceinline__ sum_t value(int r, int c, int v) const { return sum[(r * COLUMNS + c) * VECTOR + v]; }
#endif
};

#if AVERAGE
struct fc_plain_sum {
    sum_t sum = 0;
    __device__ __forceinline__ void add(sum_t value, int) { sum = fc_add(sum, value); }
};
#endif

// The first output of a thread's unit.
static __device__ __forceinline__ fc_unit fc_first(fc_u32 index, const fc_pool &p) {
    fc_unit u(index, p);
    u.h *= ROWS, u.w *= COLUMNS, u.channel *= VECTOR;
    return u;
}

// A unit's results once more, each from its elements in their order.
static __device__ __forceinline__ void fc_exactly(const value_t *source, value_t *result, long long *places,
                                                  const fc_pool &p) {
    fc_unit u = fc_first(fc_block_index(0) * THREADS + fc_thread_index(), p);
    const int top = u.h, left = u.w, channel = u.channel;
#pragma unroll 1
    for (int i = 0; i < ROWS * COLUMNS * VECTOR; i++) {
        u.channel = channel + i % VECTOR, u.w = left + i / VECTOR % COLUMNS, u.h = top + i / VECTOR / COLUMNS;
        if (u.h >= p.axis[1].outputs || u.w >= p.axis[2].outputs) continue;
#if MAXIMUM
        fc_maximum found;
        fc_search<1>(source, u, p, 0, found);
        fc_put_maximum(result, places, u, p, found);
#elif defined(DIVISOR)
        fc_plain_sum found;
        fc_search<1>(source, u, p, 0, found);
        const sum_t value[1] = {fc_divided(found.sum, DIVISOR)};
        fc_put<1>(result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w)),
                  value);
#endif
    }
}

// Threads that a multiprocessor holds, at least: fewer where more registers are needed.
#if MAXIMUM && __CUDA_ARCH__ < 900
#define RESIDENT 512
#else
#define RESIDENT (sizeof(sum_t) == 8 ? 512 : 1024)
#endif
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT / THREADS)
    pool_tiles(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
               const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    const fc_unit u = fc_first(index, p);
    const fc_window<0> d(p.axis[0], u.d);
    const fc_window<1> h(p.axis[1], u.h);
    const fc_window<2> w(p.axis[2], u.w);
    const value_t *from = source + (u.plane(p.source_at, p.source_stride) +
                                    fc_in_plane(p.source_stride, d.first, h.first, w.first - LEAD)); // may lie outside
    fc_results found;
#pragma unroll
    for (int z = 0; z < T0; z++)
#pragma unroll
        for (int y = 0; y <= (ROWS - 1) * S1 + (T1 - 1) * D1; y++) {
            bool is_read = false;
#pragma unroll
            for (int r = 0; r < ROWS; r++) is_read |= y >= r * S1 && (y - r * S1) % D1 == 0 && (y - r * S1) / D1 < T1;
            if (!is_read) continue;
            const int i = d.first + z * D0, j = h.first + y;
            const bool inside =
                (I0 || (fc_u32)i < (fc_u32)p.axis[0].size) && (I1 || (fc_u32)j < (fc_u32)p.axis[1].size);
            fc_line line;
            line.load(fc_step(fc_step(from, PITCH(p.source_stride[2]), z * D0), PITCH(p.source_stride[3]), y), inside,
                      w.first - LEAD, p);
            found.add(line, z, y, (i * p.axis[1].size + j) * p.axis[2].size + w.first);
        }
    bool is_odd = false; // whether results may have to be computed once more
#if AVERAGE
#pragma unroll
    for (int i = 0; i < ROWS * COLUMNS * VECTOR; i++)
#ifdef DIVISOR
        found.sum[i] = fc_average(found.sum[i], is_odd);
#else
        found.sum[i] = fc_divided(found.sum[i], fc_divisor(p, d, fc_window<1>(p.axis[1], u.h + i / VECTOR / COLUMNS),
                                                           fc_window<2>(p.axis[2], u.w + i / VECTOR % COLUMNS)));
#endif
#elif !defined(INTEGER)
    is_odd = found.has_nan;
#endif
    value_t *first = result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w));
#if PLACES
    long long *at = places + (u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, u.d, u.h, u.w));
#endif
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (!WHOLE && u.h + r >= p.axis[1].outputs) break;
        value_t *row = fc_step(first, PITCH(p.result_stride[3]), r);
#pragma unroll
        for (int c = 0; c < COLUMNS; c += STORED) {
            if (!WHOLE && u.w + c >= p.axis[2].outputs) break;
            value_t *to = row + (STORED > 1 ? c : (fc_index)c * (fc_index)p.result_stride[4]);
            cell_t part[STORED * VECTOR / (PAIRED ? 2 : 1)];
#if PAIRED
#pragma unroll
            for (int i = 0; i < STORED * VECTOR / 2; i++) part[i] = found.value(r, c / APART + i / CELLS, i % CELLS);
            fc_store_words(to, part);
#else
#pragma unroll
            for (int i = 0; i < STORED * VECTOR; i++) part[i] = found.value(r, c + i / VECTOR, i % VECTOR);
            fc_put<STORED * VECTOR>(to, part);
#endif
#if PLACES
            int where[STORED * VECTOR];
#pragma unroll
            for (int i = 0; i < STORED * VECTOR; i++) {
                where[i] = found.row[r].of[c + i / VECTOR].where[i % VECTOR];
                is_odd |= !(I0 && I1 && I2) && part[i] == LOWEST; // a place that may be in the padding
            }
            fc_put_places<STORED * VECTOR>(
                at + ((fc_index)r * (fc_index)p.index_stride[3] + (fc_index)c * (fc_index)p.index_stride[4]), where);
#endif
        }
    }
    if (is_odd) fc_exactly(source, result, places, p);
}
