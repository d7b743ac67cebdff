/*-------------------------------------------------------------------------
 *
 * indexes.h
 *	  The indexes of a table, kept ready for rows that are inserted.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_INDEXES_H
#define MJ_INDEXES_H

#include "nodes/execnodes.h"
#include "utils/relcache.h"

/* What is kept of the indexes of one table, for the session. */
typedef struct MjIndexes MjIndexes;

extern void mj_indexes_warm(MjIndexes **kept, Relation table);
extern void mj_indexes_open(MjIndexes **kept, ResultRelInfo *info,
							EState *estate, TupleTableSlot *slot);

#endif /* MJ_INDEXES_H */
