/* Rows of elements at constant strides, copied by vectors. Nothing before the first or after the last element of a row
 * is touched. */
ALWAYS_INLINE NAMED(vector) NAMED(load)(const REAL *from) { return *(const NAMED(unaligned) *)from; }
ALWAYS_INLINE void NAMED(store)(REAL *to, NAMED(vector) value) { *(NAMED(unaligned) *)to = value; }

/* Less than a vector: two halves, quarters, ... that overlap. */
ALWAYS_INLINE void NAMED(copy_few)(REAL *to, const REAL *from, int64_t count) {
#define HALVES(elements)                                                                                               \
    if (count >= (elements)) {                                                                                         \
        REAL low[elements], high[elements];                                                                            \
        memcpy(low, from, sizeof low);                                                                                 \
        memcpy(high, from + count - (elements), sizeof high);                                                          \
        memcpy(to, low, sizeof low);                                                                                   \
        memcpy(to + count - (elements), high, sizeof high);                                                            \
        return;                                                                                                        \
    }
    if (VECTOR_BYTES / REAL_BYTES > 8) HALVES(8)
    if (VECTOR_BYTES / REAL_BYTES > 4) HALVES(4)
    if (VECTOR_BYTES / REAL_BYTES > 2) HALVES(2)
    HALVES(1)
#undef HALVES
}

static __attribute__((noinline)) void NAMED(store_few)(REAL *to, NAMED(vector) value, int64_t count) {
    if (count > 0) NAMED(copy_few)(to, (const REAL *)&value, count);
}

/* How many of the first `count` < LANES lanes are stored at a time, and as many again up to the last; 0: too few. */
ALWAYS_INLINE int64_t NAMED(store_part)(int64_t count) {
    return count >= LANES / 2 ? LANES / 2 : count >= LANES / 4 ? LANES / 4 : 0;
}

/* The first `count` lanes; `last` shuffles a part of them that ends with the last to the front. */
ALWAYS_INLINE void NAMED(store_some)(REAL *to, NAMED(vector) value, int64_t count, NAMED(lane_index) last) {
    const int64_t part = NAMED(store_part)(count);
    const NAMED(vector) high = NAMED(shuffle_one)(value, last);
    if (count >= LANES) {
        NAMED(store)(to, value);
    } else if (part == LANES / 2) {
        memcpy(to, &value, LANES / 2 * sizeof *to);
        memcpy(to + count - LANES / 2, &high, LANES / 2 * sizeof *to);
    } else if (part == LANES / 4 && part > 0) {
        memcpy(to, &value, LANES / 4 * sizeof *to);
        memcpy(to + count - LANES / 4, &high, LANES / 4 * sizeof *to);
    } else {
        NAMED(store_few)(to, value, count);
    }
}

/* The sum of all lanes, by halves. */
ALWAYS_INLINE REAL NAMED(lane_sum)(NAMED(vector) value) {
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
        NAMED(lane_index) other;
        for (int i = 0; i < LANES; i++) other[i] = (i + half) % LANES;
        value += NAMED(shuffle_one)(value, other);
    }
    return value[0];
}

/* Lanes 0, 2, 4, ... (odd: 1, 3, 5, ...) of the 2 * LANES that start at `from`. */
ALWAYS_INLINE NAMED(vector) NAMED(every_other)(NAMED(vector) low, NAMED(vector) high, int odd) {
    NAMED(lane_index) which;
    for (int i = 0; i < LANES; i++) which[i] = 2 * i + odd;
    return NAMED(shuffle)(low, high, which);
}
ALWAYS_INLINE NAMED(vector) NAMED(load_second)(const REAL *from) {
    return NAMED(every_other)(NAMED(load)(from), NAMED(load)(from + LANES), 0);
}

/* LANES elements that lie 2 or 4 apart, of which the first is number `first` of its pair or four. */
ALWAYS_INLINE NAMED(vector) NAMED(load_every)(const REAL *from, const int stride, const int first) {
    const int odd = first > 0;
    const NAMED(vector) low = NAMED(every_other)(NAMED(load)(from), NAMED(load)(from + LANES), odd);
    if (stride == 2) return low;
    const REAL *then = from + 2 * LANES;
    return NAMED(every_other)(low, NAMED(every_other)(NAMED(load)(then), NAMED(load)(then + LANES), odd), odd);
}

/* Every second or fourth element; nothing after the last one is read. */
ALWAYS_INLINE void NAMED(copy_every)(REAL *to, const REAL *from, const int stride, int64_t count) {
    int64_t i = 0;
    for (; i + LANES < count; i += LANES) NAMED(store)(to + i, NAMED(load_every)(from + i * stride, stride, 0));
    if (count > LANES) {
        const int64_t last = count - LANES; /* begins early, so as not to end late */
        NAMED(store)(to + last, NAMED(load_every)(from + last * stride - (stride - 1), stride, stride - 1));
    } else {
        for (; i < count; i++) to[i] = from[i * stride];
    }
}

/* A run into every second element; those between them keep their values. */
ALWAYS_INLINE void NAMED(store_every_second)(REAL *to, const REAL *from, int64_t count) {
    NAMED(lane_index) low, high;
    for (int i = 0; i < LANES; i++) {
        low[i] = i % 2 ? LANES + i : i / 2;
        high[i] = i % 2 ? LANES + i : (LANES + i) / 2;
    }
    int64_t i = 0;
    for (; i + LANES < count; i += LANES) {
        REAL *at = to + 2 * i;
        const NAMED(vector) run = NAMED(load)(from + i);
        NAMED(store)(at, NAMED(shuffle)(run, NAMED(load)(at), low));
        NAMED(store)(at + LANES, NAMED(shuffle)(run, NAMED(load)(at + LANES), high));
    }
    if (count > LANES) {
        REAL *at = to + 2 * (count - LANES) - 1;
        const NAMED(vector) run = NAMED(load)(from + count - LANES);
        for (int l = 0; l < LANES; l++) {
            low[l] = l % 2 ? l / 2 : LANES + l;
            high[l] = l % 2 ? (LANES + l) / 2 : LANES + l;
        }
        NAMED(store)(at, NAMED(shuffle)(run, NAMED(load)(at), low));
        NAMED(store)(at + LANES, NAMED(shuffle)(run, NAMED(load)(at + LANES), high));
    } else {
        for (; i < count; i++) to[2 * i] = from[i];
    }
}

/* Rows of `count` elements that are `stride` apart; `known` is the stride, or 0 for those without code of their own. */
ALWAYS_INLINE void NAMED(copy_rows_of)(const int known, REAL *to, int64_t to_row, const REAL *from, int64_t from_row,
                                       int64_t stride, int64_t count, int64_t rows) {
    for (int64_t j = 0; j < rows; j++, to += to_row, from += from_row) {
        if (known > 1) {
            NAMED(copy_every)(to, from, known, count);
        } else if (known == 0) {
            for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
        } else if (count < LANES) {
            NAMED(copy_few)(to, from, count);
        } else {
            for (int64_t i = 0; i < count - LANES; i += LANES) NAMED(store)(to + i, NAMED(load)(from + i));
            NAMED(store)(to + count - LANES, NAMED(load)(from + count - LANES));
        }
    }
}

static inline void NAMED(copy_rows)(REAL *to, int64_t to_row, const REAL *from, int64_t from_row, int64_t stride,
                                    int64_t count, int64_t rows) {
    switch (stride) {
    case 1: NAMED(copy_rows_of)(1, to, to_row, from, from_row, stride, count, rows); break;
    case 2: NAMED(copy_rows_of)(2, to, to_row, from, from_row, stride, count, rows); break;
    case 4: NAMED(copy_rows_of)(4, to, to_row, from, from_row, stride, count, rows); break;
    default: NAMED(copy_rows_of)(0, to, to_row, from, from_row, stride, count, rows);
    }
}

/* The other way: rows of neighbours to elements that are `stride` apart. `between`: the elements between them may be
 * written, too, with the values that they have. */
static inline void NAMED(spread_rows)(REAL *to, int64_t to_row, int64_t stride, int between, const REAL *from,
                                      int64_t from_row, int64_t count, int64_t rows) {
    if (stride == 1) {
        NAMED(copy_rows_of)(1, to, to_row, from, from_row, 1, count, rows);
        return;
    }
    for (int64_t j = 0; j < rows; j++, to += to_row, from += from_row) {
        if (stride == 2 && between)
            NAMED(store_every_second)(to, from, count);
        else
            for (int64_t i = 0; i < count; i++) to[i * stride] = from[i];
    }
}
