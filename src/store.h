/*-------------------------------------------------------------------------
 *
 * store.h
 *	  The store scope: how the extension reaches its own tables.
 *
 * Every statement of the extension runs inside a scope: as the extension's
 * owner, with search_path pinned, over SPI with a saved plan.  All SQL text
 * of the C code sits in the *_store.c files as static MjStatements.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_STORE_H
#define MJ_STORE_H

#include "executor/spi.h"

#define MJ_MAX_PARAMS 40

/* A command that does nothing, for who goes through what a run takes. */
#define MJ_NO_WORK "SELECT 1"

/* A statement with its saved plan; static, one for each text. */
typedef struct MjStatement
{
	const char *sql;
	int nparams;
	Oid types[MJ_MAX_PARAMS];
	SPIPlanPtr plan; /* saved at first use, for the session */
} MjStatement;

/* What mj_store_enter() changed and mj_store_leave() puts back. */
typedef struct MjScope
{
	Oid user;
	int security_context;
	int guc_level;
	MemoryContext caller; /* context that results are copied into */
} MjScope;

/* Parameters under construction: mj_param_xxx() append, NULL where noted. */
typedef struct MjParams
{
	int count;
	Datum values[MJ_MAX_PARAMS];
	char nulls[MJ_MAX_PARAMS]; /* 'n' or ' ' */
} MjParams;

extern Oid mj_store_owner(void);
extern bool mj_store_installed(void);
extern bool mj_store_try_lock(void);
extern bool mj_store_is_lockable(void);
extern bool mj_store_begin_record(MemoryContext context, bool patient);
extern void mj_store_warm(MjStatement *statement);
extern void mj_store_enter(MjScope *scope);
extern void mj_store_leave(MjScope *scope);
extern uint64 mj_store_run(MjStatement *statement, MjParams *params);
extern uint64 mj_store_read_latest(MjStatement *statement, MjParams *params);

extern void mj_param_int64(MjParams *params, int64 value);
extern void mj_param_int32(MjParams *params, int32 value);
extern void mj_param_oid(MjParams *params, Oid value);
extern void mj_param_bool(MjParams *params, bool value);
extern void mj_param_time(MjParams *params, TimestampTz value); /* 0 = NULL */
extern void mj_param_text(MjParams *params, const char *value); /* NULL ok */
extern void mj_param_name(MjParams *params, const char *value);
extern void mj_param_datum(MjParams *params, Datum value, bool isnull);
extern void mj_param_array(MjParams *params, Datum *values, int n,
						   Oid element); /* 8-byte elements, text */

/* Columns of row `row` of the last result; copied into scope->caller. */
extern int64 mj_row_int64(uint64 row, int column); /* NULL = 0 */
extern int32 mj_row_int32(uint64 row, int column);
extern Oid mj_row_oid(uint64 row, int column);
extern bool mj_row_bool(uint64 row, int column);
extern double mj_row_double(uint64 row, int column);	/* NULL = 0 */
extern TimestampTz mj_row_time(uint64 row, int column); /* NULL = 0 */
extern bool mj_row_isnull(uint64 row, int column);
extern char *mj_row_text(MjScope *scope, uint64 row, int column); /* NULL ok */
extern Datum mj_row_datum(MjScope *scope, uint64 row, int column, bool *isnull);

#endif /* MJ_STORE_H */
