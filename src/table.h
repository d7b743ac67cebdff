/*-------------------------------------------------------------------------
 *
 * table.h
 *	  The table: rows of the extension's own tables, without statements.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_TABLE_H
#define MJ_TABLE_H

#include "access/attnum.h"

#include "indexes.h"
#include "store.h"

/* A table of schema jobs, and the columns of it that the caller is about. */
typedef struct MjTable
{
	const char *name;
	const char *columns; /* names, separated by ", " */
	int ncolumns;		 /* found at the first use */
	const char *names[MJ_MAX_PARAMS];
	AttrNumber numbers[MJ_MAX_PARAMS]; /* 0: not known */
	MjIndexes *indexes;				   /* once a row was inserted */
} MjTable;

/* Is a row the one that is meant?  Its values are in the order of columns. */
typedef bool (*MjRowTest)(const Datum *values, const bool *nulls,
						  const void *arg);

extern void mj_table_warm(MjTable *table, bool insert);
extern int64 mj_table_nextval(const char *sequence);
extern void mj_table_insert(MjTable *table, const MjParams *row);
extern bool mj_table_find(MjTable *table, const char *index, Datum key,
						  RegProcedure equal, MjParams *row);
extern bool mj_table_delete(MjTable *table, Datum key, MjRowTest test,
							const void *arg);

#endif /* MJ_TABLE_H */
