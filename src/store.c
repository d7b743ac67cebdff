/*-------------------------------------------------------------------------
 *
 * store.c
 *	  The store scope: how the extension reaches its own tables.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "store.h"
#include "worker.h"

#define MJ_SCHEMA "jobs"
#define MJ_EXTENSION "motionify_jobs"

/* How long mj_store_is_lockable() waits. */
#define MJ_LOCKABLE_WAIT_MS 1000

/* The table that stands for the extension; InvalidOid when there is none. */
static Oid
queue_table(void)
{
	Oid schema = get_namespace_oid(MJ_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid("queue", schema) : InvalidOid;
}

/*
 * True when the extension is created in this database.  Needs a transaction.
 * Asked for every run, so it looks for the table in the caches, and for the
 * extension only when the table is another one than before.
 */
bool
mj_store_installed(void)
{
	static Oid known = InvalidOid;
	Oid table = queue_table();

	if (!OidIsValid(table))
		return false;
	if (table != known && !OidIsValid(get_extension_oid(MJ_EXTENSION, true)))
		return false;
	known = table;
	return true;
}

/*
 * The owner of the extension's tables: who all bookkeeping is done as.
 * Needs a transaction.  Raises 55000 when the extension is not there.
 */
Oid
mj_store_owner(void)
{
	Oid table = queue_table();
	HeapTuple tuple;
	Oid owner;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in this database",
						MJ_EXTENSION),
				 errhint("Run CREATE EXTENSION %s.", MJ_EXTENSION)));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The tables that the end of a run writes, in the order of locks. */
static const char *const run_tables[] = { "job",
										  "job_state",
										  "queue",
										  "run_log",
										  "mail",
										  "call",
										  "mail_suppression",
										  "mail_transport_state" };

/*
 * Lock the tables that the end of a run writes, if nobody has locked one of them
 * against that; false then.  Needs a transaction.
 */
bool
mj_store_try_lock(void)
{
	Oid schema = get_namespace_oid(MJ_SCHEMA, false);
	int i;

	for (i = 0; i < lengthof(run_tables); i++)
	{
		Oid table = get_relname_relid(run_tables[i], schema);

		if (!OidIsValid(table) ||
			!ConditionalLockRelationOid(table, RowExclusiveLock))
			return false;
	}
	return true;
}

/*
 * Can the tables that the end of a run writes be written now, or in a moment?
 * For a process on its way out, where nothing ends the wait for a lock; others
 * that end with it may still hold one.  Needs a transaction, which then has
 * locked them.
 */
bool
mj_store_is_lockable(void)
{
	int waited;

	for (waited = 0; waited < MJ_LOCKABLE_WAIT_MS; waited += 10)
	{
		if (mj_store_try_lock())
			return true;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10L,
						 PG_WAIT_EXTENSION);
	}
	return false;
}

/*
 * Begin a transaction of a worker in which it records, durably, what has been done
 * outside of the database.  False, and there is none, when somebody has locked the
 * tables, which is logged once: the worker keeps what it has, goes on, and tries again
 * later.  So it neither waits, with interrupts held off, for as long as somebody likes,
 * nor forgets.  A patient one, which ends, waits for a second.
 */
bool
mj_store_begin_record(MemoryContext context, bool patient)
{
	bool can;

	mj_worker_begin(context, true);
	can = patient ? mj_store_is_lockable() : mj_store_try_lock();
	if (!can)
		mj_worker_commit(context);
	mj_worker_tell_held_up(context, MJ_HELD_UP_RECORD, !can);
	return can;
}

/*
 * What holds for the extension's own statements, whatever the session has set.
 * Each is to go by an index, also when its plan was made before the planner
 * heard how many rows there are; and a plan that a sequential scan makes look
 * dear must not be compiled.  In a job's serializable transaction a sequential
 * scan would also conflict with every other one.
 */
static const char *const scope_settings[][2] = {
	{ "search_path", "pg_catalog, pg_temp" },
	{ "enable_seqscan", "off" },
	{ "enable_bitmapscan", "off" },
	{ "enable_sort", "off" },
	{ "jit", "off" },
};

/*
 * Open a scope: become the owner, pin the settings, connect SPI.  Needs a
 * transaction.  On error the (sub)transaction's abort puts everything back;
 * otherwise the caller must call mj_store_leave().
 */
void
mj_store_enter(MjScope *scope)
{
	Oid owner = mj_store_owner();
	int i;

	scope->caller = CurrentMemoryContext;
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context |
							   SECURITY_LOCAL_USERID_CHANGE);
	scope->guc_level = NewGUCNestLevel();
	for (i = 0; i < lengthof(scope_settings); i++)
		(void) set_config_option(scope_settings[i][0], scope_settings[i][1],
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot()); /* SPI wants one */
}

/*
 * Close a scope.  Results must have been copied out.
 */
void
mj_store_leave(MjScope *scope)
{
	PopActiveSnapshot();
	SPI_finish();
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

/*
 * The saved plan of a statement, made at its first use.  It is generic from the
 * beginning: that a plan is made anew for each of the first uses, to see what
 * the parameters are worth, would cost every new process more than its work.
 * In a scope.
 */
static SPIPlanPtr
statement_plan(MjStatement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr plan =
			SPI_prepare_cursor(statement->sql, statement->nparams,
							   statement->types, CURSOR_OPT_GENERIC_PLAN);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
				 SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep the plan of \"%s\"", statement->sql);
		statement->plan = plan;
	}
	return statement->plan;
}

/*
 * Plan a statement ahead of its first use, and read what that takes into the
 * caches.  Opens a scope.
 */
void
mj_store_warm(MjStatement *statement)
{
	MjScope scope;
	CachedPlan *plan;

	mj_store_enter(&scope);
	plan = SPI_plan_get_cached_plan(statement_plan(statement));
	if (plan != NULL)
		ReleaseCachedPlan(plan, CurrentResourceOwner);
	mj_store_leave(&scope);
}

static uint64
statement_execute(MjStatement *statement, MjParams *params, bool read_only)
{
	SPIPlanPtr plan = statement_plan(statement);
	int rc;

	Assert(statement->nparams == (params ? params->count : 0));
	rc = SPI_execute_plan(plan, params ? params->values : NULL,
						  params ? params->nulls : NULL, read_only, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql,
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * Run a statement in the open scope; returns the rows that it returned or
 * changed.  Its result stays readable by mj_row_xxx() until the next one.
 */
uint64
mj_store_run(MjStatement *statement, MjParams *params)
{
	return statement_execute(statement, params, false);
}

/*
 * Run a query in the open scope on the latest snapshot, whatever the caller's
 * isolation level: for a caller that has waited for another process's commit.
 */
uint64
mj_store_read_latest(MjStatement *statement, MjParams *params)
{
	uint64 rows;

	PushActiveSnapshot(GetLatestSnapshot());
	rows = statement_execute(statement, params, true);
	PopActiveSnapshot();
	return rows;
}

static void
param_append(MjParams *params, Datum value, bool isnull)
{
	Assert(params->count < MJ_MAX_PARAMS);
	params->values[params->count] = value;
	params->nulls[params->count] = isnull ? 'n' : ' ';
	params->count++;
}

void
mj_param_int64(MjParams *params, int64 value)
{
	param_append(params, Int64GetDatum(value), false);
}

void
mj_param_int32(MjParams *params, int32 value)
{
	param_append(params, Int32GetDatum(value), false);
}

void
mj_param_oid(MjParams *params, Oid value)
{
	param_append(params, ObjectIdGetDatum(value), false);
}

void
mj_param_bool(MjParams *params, bool value)
{
	param_append(params, BoolGetDatum(value), false);
}

/* A timestamptz; 0 means NULL. */
void
mj_param_time(MjParams *params, TimestampTz value)
{
	param_append(params, TimestampTzGetDatum(value), value == 0);
}

/* A text; NULL means NULL. */
void
mj_param_text(MjParams *params, const char *value)
{
	param_append(params, value ? CStringGetTextDatum(value) : (Datum) 0,
				 value == NULL);
}

/* A name; must not be NULL.  Cut at NAMEDATALEN. */
void
mj_param_name(MjParams *params, const char *value)
{
	param_append(params, DirectFunctionCall1(namein, CStringGetDatum(value)),
				 false);
}

void
mj_param_datum(MjParams *params, Datum value, bool isnull)
{
	param_append(params, value, isnull);
}

/*
 * An array of values of a type, without NULLs; made in the current context.
 */
void
mj_param_array(MjParams *params, Datum *values, int n, Oid element)
{
	int16 length;
	bool byval;
	char align;

	get_typlenbyvalalign(element, &length, &byval, &align);
	param_append(params,
				 PointerGetDatum(
					 construct_array(values, n, element, length, byval, align)),
				 false);
}

/* Column `column` (from 1) of row `row` (from 0) of the last result. */
static Datum
row_value(uint64 row, int column, bool *isnull)
{
	Assert(SPI_tuptable != NULL && row < SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
						 isnull);
}

int64
mj_row_int64(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
mj_row_int32(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

Oid
mj_row_oid(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

bool
mj_row_bool(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? false : DatumGetBool(value);
}

double
mj_row_double(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? 0.0 : DatumGetFloat8(value);
}

TimestampTz
mj_row_time(uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

bool
mj_row_isnull(uint64 row, int column)
{
	bool isnull;

	(void) row_value(row, column, &isnull);
	return isnull;
}

/*
 * The text form of any column, in the context that entered the scope; NULL
 * for NULL.
 */
char *
mj_row_text(MjScope *scope, uint64 row, int column)
{
	bool isnull;
	Datum value = row_value(row, column, &isnull);
	MemoryContext old;
	char *copy;

	if (isnull)
		return NULL;
	if (SPI_gettypeid(SPI_tuptable->tupdesc, column) != TEXTOID)
		return MemoryContextStrdup(scope->caller,
								   SPI_getvalue(SPI_tuptable->vals[row],
												SPI_tuptable->tupdesc, column));
	old = MemoryContextSwitchTo(scope->caller);
	copy = TextDatumGetCString(value);
	MemoryContextSwitchTo(old);
	return copy;
}

/* A column's value, copied into the context that entered the scope. */
Datum
mj_row_datum(MjScope *scope, uint64 row, int column, bool *isnull)
{
	Datum value = row_value(row, column, isnull);
	Oid type = SPI_gettypeid(SPI_tuptable->tupdesc, column);
	MemoryContext old;
	bool byval;
	int16 len;

	if (*isnull)
		return (Datum) 0;
	get_typlenbyval(type, &len, &byval);
	old = MemoryContextSwitchTo(scope->caller);
	if (len == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	else
		value = datumCopy(value, byval, len);
	MemoryContextSwitchTo(old);
	return value;
}
