/* The table of a room's kernels. The room's job.h includes this at its end, after it has defined
 *
 *     ROOM          the room's name, part of the names of its tables
 *     ROOM_TYPES    (optional) how many tables a level has; one per real type if it is not defined: float32, float64
 *     ROOM_FIELDS   (optional) members of a table before the kernels
 *
 * The room's kernels.inc is the one list of its kernels, a line KERNEL(name) each. Its unit.c fills the tables of one
 * ISA level (unit.h); its loops.pyx takes the table of the level in use by kernels_at. */
#ifndef FASTCONV_ROOM_H
#define FASTCONV_ROOM_H

#include <stddef.h>

#include "correlation.h"

#ifndef ROOM_TYPES
#define ROOM_TYPES 2
#endif
#ifndef ROOM_FIELDS
#define ROOM_FIELDS                                                                                                    \
    int64_t lanes;                   /* elements of one vector */                                                      \
    int64_t tile_rows, tile_columns; /* register tile of the matrix product */
#endif

typedef struct {
    ROOM_FIELDS
#define KERNEL(name) item_fn name;
#include "kernels.inc"
#undef KERNEL
} kernels_t;

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
/* A level's tables: ROOM_TYPES pointers, and a pointer to them or to those of another level; NULL: it has none. */
#define OWN_TABLES(level) JOIN(JOIN(JOIN(fastconv_, ROOM), _own_tables_), level)
#define TABLES(level) JOIN(JOIN(JOIN(fastconv_, ROOM), _tables_), level)

#define LEVEL(identifier, name, flags, test) extern const kernels_t *const *const TABLES(identifier);
#include "isa/levels.h"
#undef LEVEL

/* The table of a level and a type; NULL: the level has no kernels in this room. */
static inline const kernels_t *kernels_at(int64_t level, int64_t type) {
    const kernels_t *const *const tables[] = {
#define LEVEL(identifier, name, flags, test) TABLES(identifier),
#include "isa/levels.h"
#undef LEVEL
    };
    return tables[level] == NULL ? NULL : tables[level][type];
}

#endif
