/*-------------------------------------------------------------------------
 *
 * table.c
 *	  The table: rows of the extension's own tables, without statements.
 *
 * What every run does to the queue and the log costs more to set up, as a
 * statement, than to do.  So it is done as the apply worker of logical
 * replication does it: with the executor's functions for a single row, which
 * see to indexes, constraints and triggers.  No right is asked for, so the
 * caller is one of our own.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table.h"

/* What a change of a row needs. */
typedef struct Change
{
	Relation relation;
	EState *estate;
	ResultRelInfo *info;
} Change;

/* Take the names of a table's columns apart. */
static void
split_columns(MjTable *table)
{
	char *rest = MemoryContextStrdup(TopMemoryContext, table->columns);
	char *name;

	while ((name = strtok_r(rest, ", ", &rest)) != NULL)
		table->names[table->ncolumns++] = name;
}

/* Has a relation a column of that name and number? */
static bool
is_column(Relation relation, AttrNumber number, const char *name)
{
	return number > 0 && number <= RelationGetNumberOfAttributes(relation) &&
		namestrcmp(&TupleDescAttr(RelationGetDescr(relation), number - 1)
						->attname,
				   name) == 0;
}

/*
 * Find the numbers of a table's columns; they are what they were the last time,
 * as a rule.  Raises 42703 if somebody has taken one away.
 */
static void
find_columns(MjTable *table, Relation relation)
{
	int i;

	if (table->ncolumns == 0)
		split_columns(table);
	for (i = 0; i < table->ncolumns; i++)
	{
		if (is_column(relation, table->numbers[i], table->names[i]))
			continue;
		table->numbers[i] =
			get_attnum(RelationGetRelid(relation), table->names[i]);
		if (table->numbers[i] == InvalidAttrNumber)
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"jobs.%s\" does not exist",
						table->names[i], table->name)));
	}
}

/* A relation of schema jobs.  Raises 55000, or 42P01. */
static Oid
relation_oid(const char *name)
{
	Oid schema = get_namespace_oid("jobs", true);
	Oid oid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(oid))
	{
		(void) mj_store_owner(); /* says it better, if all is gone */
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"jobs.%s\" does not exist", name)));
	}
	return oid;
}

/*
 * Learn what a change of a table needs, and an insert of a row if one is to
 * come, without making one.  Needs a transaction.
 */
void
mj_table_warm(MjTable *table, bool insert)
{
	Relation relation = table_open(relation_oid(table->name), RowExclusiveLock);

	find_columns(table, relation);
	if (insert)
		mj_indexes_warm(&table->indexes, relation);
	table_close(relation, NoLock);
}

/* The next value of a sequence of schema jobs.  Needs a transaction. */
int64
mj_table_nextval(const char *sequence)
{
	return nextval_internal(relation_oid(sequence), false);
}

/* Begin to change a row of a table. */
static void
begin_change(Change *change, MjTable *table)
{
	Relation relation = table_open(relation_oid(table->name), RowExclusiveLock);

	find_columns(table, relation);
	change->relation = relation;
	change->estate = CreateExecutorState();
	change->info = makeNode(ResultRelInfo);
	InitResultRelInfo(change->info, relation, 0, NULL, 0);
	PushActiveSnapshot(GetTransactionSnapshot());
	AfterTriggerBeginQuery();
}

/* The change is made; on error the transaction's abort does all this. */
static void
end_change(Change *change)
{
	AfterTriggerEndQuery(change->estate);
	PopActiveSnapshot();
	ExecResetTupleTable(change->estate->es_tupleTable, false);
	FreeExecutorState(change->estate);
	pfree(change->info);
	table_close(change->relation, NoLock);
}

/*
 * Insert a row with the values of a table's columns, and NULL in others: no
 * default is looked at.  Needs a transaction.  Raises unique_violation.
 */
void
mj_table_insert(MjTable *table, const MjParams *row)
{
	Change change;
	TupleTableSlot *slot;
	int i;

	begin_change(&change, table);
	Assert(row->count == table->ncolumns);
	slot =
		ExecInitExtraTupleSlot(change.estate, RelationGetDescr(change.relation),
							   &TTSOpsVirtual);
	ExecStoreAllNullTuple(slot);
	for (i = 0; i < row->count; i++)
	{
		slot->tts_values[table->numbers[i] - 1] = row->values[i];
		slot->tts_isnull[table->numbers[i] - 1] = row->nulls[i] == 'n';
	}
	mj_indexes_open(&table->indexes, change.info, change.estate, slot);
	ExecSimpleRelationInsert(change.info, change.estate, slot);
	ExecCloseIndices(change.info);
	end_change(&change);
}

/* The values of a table's columns, copied into the current context. */
static void
copy_row(const MjTable *table, Relation relation, HeapTuple tuple,
		 MjParams *row)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	int i;

	memset(row, 0, sizeof(MjParams));
	for (i = 0; i < table->ncolumns; i++)
	{
		Form_pg_attribute column =
			TupleDescAttr(descriptor, table->numbers[i] - 1);
		bool isnull;
		Datum value =
			heap_getattr(tuple, table->numbers[i], descriptor, &isnull);

		if (!isnull)
			value = datumCopy(value, column->attbyval, column->attlen);
		mj_param_datum(row, value, isnull);
	}
}

/*
 * Find the row whose first column, which has a unique index, equals a key; gives
 * the values of the columns.  Needs a transaction.
 */
bool
mj_table_find(MjTable *table, const char *index, Datum key, RegProcedure equal,
			  MjParams *row)
{
	Relation relation = table_open(relation_oid(table->name), AccessShareLock);
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	find_columns(table, relation);
	ScanKeyInit(&scankey, table->numbers[0], BTEqualStrategyNumber, equal, key);
	scankey.sk_collation =
		TupleDescAttr(RelationGetDescr(relation), table->numbers[0] - 1)
			->attcollation;
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = systable_beginscan(relation, relation_oid(index), true,
							  GetActiveSnapshot(), 1, &scankey);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		copy_row(table, relation, tuple, row);
	systable_endscan(scan);
	PopActiveSnapshot();
	table_close(relation, AccessShareLock);
	return found;
}

/* Does a tuple pass the caller's test? */
static bool
passes(const MjTable *table, Relation relation, HeapTuple tuple, MjRowTest test,
	   const void *arg)
{
	Datum values[MJ_MAX_PARAMS];
	bool nulls[MJ_MAX_PARAMS];
	int i;

	for (i = 0; i < table->ncolumns; i++)
		values[i] = heap_getattr(tuple, table->numbers[i],
								 RelationGetDescr(relation), &nulls[i]);
	return test(values, nulls, arg);
}

/*
 * Delete the row whose primary key, a bigint in the first column, is "key", if
 * it passes a test.  Returns whether there was such a row.  Needs a transaction.
 */
bool
mj_table_delete(MjTable *table, Datum key, MjRowTest test, const void *arg)
{
	Change change;
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	begin_change(&change, table);
	ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_INT8EQ, key);
	scan = systable_beginscan(change.relation,
							  MJ_PRIMARY_KEY_INDEX(change.relation), true,
							  GetActiveSnapshot(), 1, &scankey);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple) &&
		passes(table, change.relation, tuple, test, arg);
	if (found)
	{
		TupleTableSlot *slot =
			ExecInitExtraTupleSlot(change.estate,
								   RelationGetDescr(change.relation),
								   &TTSOpsHeapTuple);
		EPQState epq;

		MJ_EVAL_PLAN_QUAL_INIT(&epq, change.estate);
		ExecStoreHeapTuple(tuple, slot, false);
		ExecSimpleRelationDelete(change.info, change.estate, &epq, slot);
		EvalPlanQualEnd(&epq);
	}
	systable_endscan(scan);
	end_change(&change);
	return found;
}
