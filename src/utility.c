/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  The utility hook: DDL that the workers must make way for or hear of.
 *
 * Before DROP, RENAME or SET TABLESPACE of a database, CREATE DATABASE with it
 * as template, and DROP EXTENSION, its workers are ended and kept away until
 * the transaction ends.  CREATE EXTENSION, and COMMIT PREPARED, which the
 * transaction callback cannot see, wake the workers.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"

#include "compat.h"
#include "floor.h"
#include "shmem.h"
#include "store.h"
#include "utility.h"
#include "worker.h"
#include "xact.h"

#define MJ_EXTENSION "motionify_jobs"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* What a statement means to the workers. */
typedef struct Effect
{
	Oid blocks; /* database whose workers must leave first */
	bool drops; /* and is gone when it commits */
	bool wakes; /* this database's workers must look */
} Effect;

/* A database by name, if the user owns it: else the statement will fail. */
static Oid
owned_database(const char *name)
{
	Oid oid = get_database_oid(name, true);

	return OidIsValid(oid) && MJ_OWNS_DATABASE(oid, GetUserId()) ? oid :
																   InvalidOid;
}

/* The template that CREATE DATABASE names, if the user owns it. */
static Oid
template_of(const CreatedbStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return owned_database(defGetString(option));
	}
	return InvalidOid;
}

/* May the user drop our extension?  Else the statement will fail. */
static bool
owns_extension(void)
{
	Oid oid = get_extension_oid(MJ_EXTENSION, true);

	return OidIsValid(oid) && MJ_OWNS_EXTENSION(oid, GetUserId());
}

/* Does DROP EXTENSION name ours? */
static bool
drops_extension(const DropStmt *stmt)
{
	ListCell *cell;

	if (stmt->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, stmt->objects)
		if (strcmp(strVal(lfirst(cell)), MJ_EXTENSION) == 0)
			return true;
	return false;
}

/* Does ALTER DATABASE move it to another tablespace? */
static bool
sets_tablespace(const AlterDatabaseStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
			return true;
	return false;
}

/* What a statement means to the workers. */
static Effect
effect_of(Node *statement)
{
	Effect effect = { InvalidOid, false, false };

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			effect.blocks = owned_database(((DropdbStmt *) statement)->dbname);
			effect.drops = true;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				effect.blocks =
					owned_database(((RenameStmt *) statement)->subname);
			break;
		case T_AlterDatabaseStmt:
			if (sets_tablespace((AlterDatabaseStmt *) statement))
				effect.blocks =
					owned_database(((AlterDatabaseStmt *) statement)->dbname);
			break;
		case T_CreatedbStmt:
			effect.blocks = template_of((CreatedbStmt *) statement);
			break;
		case T_DropStmt:
			if (drops_extension((DropStmt *) statement) && owns_extension())
				effect.blocks = MyDatabaseId;
			break;
		case T_CreateExtensionStmt:
			effect.wakes = strcmp(((CreateExtensionStmt *) statement)->extname,
								  MJ_EXTENSION) == 0;
			break;
		default:
			break;
	}
	return effect;
}

/* Does the server know anything of a database's jobs? */
static bool
is_known(Oid database)
{
	bool known;

	mj_lock();
	known = OidIsValid(database) && mj_database_find(database) != NULL;
	mj_unlock();
	return known;
}

static bool
commits_prepared(Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/*
 * A database was made, perhaps of one with jobs: have it looked at when that is
 * committed.
 */
static void
probe_created(Node *statement)
{
	Oid oid;

	if (!IsA(statement, CreatedbStmt))
		return;
	oid = get_database_oid(((CreatedbStmt *) statement)->dbname, true);
	if (OidIsValid(oid))
		mj_xact_wake_other_database(oid);
}

/* The hook. */
static void
process_utility(PlannedStmt *pstmt, const char *query_string,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment,
				DestReceiver *dest, QueryCompletion *completion)
{
	Node *statement = pstmt->utilityStmt;
	Effect effect = effect_of(statement);

	if (is_known(effect.blocks))
	{
		mj_xact_block_database(effect.blocks, effect.drops);
		mj_worker_evict_database(effect.blocks);
	}

	PG_TRY();
	{
		if (previous_utility_hook)
			previous_utility_hook(pstmt, query_string, read_only_tree, context,
								  params, environment, dest, completion);
		else
			standard_ProcessUtility(pstmt, query_string, read_only_tree,
									context, params, environment, dest,
									completion);
	}
	PG_CATCH();
	{
		if (OidIsValid(effect.blocks))
			mj_xact_unblock_database();
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (effect.wakes)
		mj_xact_wake(0, MJ_LANE_NONE);
	if (commits_prepared(statement) &&
		(is_known(MyDatabaseId) || mj_store_installed()))
	{
		mj_floor_lower(MyDatabaseId, NULL);
		mj_wake_database(MyDatabaseId, 0);
	}
	else
		probe_created(statement);
}

/* Install the hook; called once from _PG_init while preloading. */
void
mj_utility_init(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
