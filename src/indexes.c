/*-------------------------------------------------------------------------
 *
 * indexes.c
 *	  The indexes of a table, kept ready for rows that are inserted.
 *
 * The queue has an index for each state of a run, so a row goes into few of
 * them.  To open all, and to prepare the predicates by which most of them turn
 * it down, takes longer than the rest of an insert.  So the predicates are
 * prepared once a session, until the relation cache says that the table or one
 * of its indexes has changed, and only indexes that take the row are opened.
 * Where a trigger may change the row before it is inserted, all are.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

#include "indexes.h"

struct MjIndexes
{
	MjIndexes *next; /* all that are kept in this process */
	bool valid;		 /* nothing has changed since it was learnt */
	uint64 changes;	 /* that were heard of */
	Oid table;
	MemoryContext context; /* of all that follows */
	EState *estate;		   /* of the prepared expressions */
	int n;
	Oid *oids;
	IndexInfo **infos; /* with their expressions prepared */
};

static MjIndexes *all_kept = NULL;

/* Is a relation the table, or one of the indexes? */
static bool
is_about(const MjIndexes *kept, Oid relation)
{
	int i;

	if (relation == InvalidOid || relation == kept->table)
		return true;
	for (i = 0; i < kept->n; i++)
		if (relation == kept->oids[i])
			return true;
	return false;
}

/* Callback of the relation cache: a relation has changed, or (0) any may. */
static void
relation_changed(Datum arg, Oid relation)
{
	MjIndexes *kept;

	for (kept = all_kept; kept != NULL; kept = kept->next)
		if (is_about(kept, relation))
		{
			kept->valid = false;
			kept->changes++;
		}
}

/* A place to keep the indexes of a table in. */
static MjIndexes *
new_kept(void)
{
	MjIndexes *kept =
		MemoryContextAllocZero(TopMemoryContext, sizeof(MjIndexes));

	if (all_kept == NULL)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	kept->next = all_kept;
	all_kept = kept;
	return kept;
}

/* What is to be known of one index, with its expressions prepared. */
static IndexInfo *
prepare_index(Oid oid, EState *estate)
{
	Relation index = index_open(oid, RowExclusiveLock);
	IndexInfo *info = BuildIndexInfo(index);

	info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, estate);
	info->ii_ExpressionsState =
		ExecPrepareExprList(info->ii_Expressions, estate);
	index_close(index, NoLock);
	return info;
}

/*
 * Learn the indexes of a table anew; what changes meanwhile makes it invalid
 * again.  On error nothing is kept, and what was made goes with the caller's
 * context.
 */
static void
learn(MjIndexes *kept, Relation table)
{
	uint64 changes = kept->changes;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs indexes",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	List *list = RelationGetIndexList(table);
	EState *estate = CreateExecutorState();
	int n = list_length(list);
	Oid *oids = palloc(Max(n, 1) * sizeof(Oid));
	IndexInfo **infos = palloc(Max(n, 1) * sizeof(IndexInfo *));
	int i;

	for (i = 0; i < n; i++)
	{
		oids[i] = list_nth_oid(list, i);
		infos[i] = prepare_index(oids[i], estate);
	}
	MemoryContextSwitchTo(old);
	if (kept->context != NULL)
		MemoryContextDelete(kept->context);
	MemoryContextSetParent(context, TopMemoryContext);
	kept->context = context;
	kept->estate = estate;
	kept->n = n;
	kept->oids = oids;
	kept->infos = infos;
	kept->valid = kept->changes == changes;
}

/* What is known of the indexes of a table, learnt now if need be. */
static MjIndexes *
indexes_of(MjIndexes **kept_at, Relation table)
{
	MjIndexes *kept;

	if (*kept_at == NULL)
		*kept_at = new_kept();
	kept = *kept_at;
	if (kept->table != RelationGetRelid(table))
	{
		kept->table = RelationGetRelid(table);
		kept->valid = false;
	}
	if (!kept->valid)
		learn(kept, table);
	return kept;
}

/* Learn the indexes of a table ahead, which the caller has opened and locked. */
void
mj_indexes_warm(MjIndexes **kept_at, Relation table)
{
	(void) indexes_of(kept_at, table);
}

/* May a trigger change a row before it is inserted into a table? */
static bool
may_change_row(Relation table)
{
	return table->trigdesc != NULL && table->trigdesc->trig_insert_before_row;
}

/*
 * Open those indexes of a table, which the caller has opened and locked, that
 * take the row in a slot; ExecCloseIndices() closes them.
 */
void
mj_indexes_open(MjIndexes **kept_at, ResultRelInfo *info, EState *estate,
				TupleTableSlot *slot)
{
	ExprContext *context = GetPerTupleExprContext(estate);
	MjIndexes *kept;
	int i;

	if (may_change_row(info->ri_RelationDesc))
	{
		ExecOpenIndices(info, false);
		return;
	}
	kept = indexes_of(kept_at, info->ri_RelationDesc);
	info->ri_NumIndices = 0;
	info->ri_IndexRelationDescs = palloc(kept->n * sizeof(Relation));
	info->ri_IndexRelationInfo = palloc(kept->n * sizeof(IndexInfo *));
	context->ecxt_scantuple = slot;
	for (i = 0; i < kept->n; i++)
	{
		IndexInfo *index = kept->infos[i];

		if (!ExecQual(index->ii_PredicateState, context))
			continue;
		info->ri_IndexRelationInfo[info->ri_NumIndices] = index;
		info->ri_IndexRelationDescs[info->ri_NumIndices++] =
			index_open(kept->oids[i], RowExclusiveLock);
	}
}
