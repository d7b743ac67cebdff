/*-------------------------------------------------------------------------
 *
 * runner.c
 *	  The command: executes a job's SQL text, on one path whatever it is.
 *
 * Each statement of a command has a cached plan and is run in a portal, as
 * the extended query protocol does it.  A command of one statement may be VACUUM
 * or a procedure that commits; several make one implicit transaction block.
 * Nothing is classified: whatever transaction is open when the last statement
 * ends is the one that the outcome is written in.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "nodes/params.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "replication/slot.h"
#include "storage/lock.h"
#include "tcop/cmdtag.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "runner.h"

/* Jobs whose plans an executor keeps; past that it starts over. */
#define MJ_MAX_CACHED_JOBS 256

/* Jobs that it remembers to have executed. */
#define MJ_MAX_SEEN_JOBS 4096

/* A job that this process has executed before. */
typedef struct SeenJob
{
	int64 job_id; /* hash key */
	int32 version;
} SeenJob;

/* The plans of one job's command, by job_id. */
typedef struct CachedCommand
{
	int64 job_id; /* hash key */
	int32 version;
	int nstatements;
	bool once; /* not in the cache: its plans are used once */
	CachedPlanSource *
		*plans;			   /* saved, unless once; NULL until first executed */
	RawStmt **raw;		   /* parse trees */
	MemoryContext context; /* owns the entry's arrays and text */
	char *text;
} CachedCommand;

static HTAB *cached_commands = NULL;
static HTAB *seen_jobs = NULL;

/* Of the command that is executed once, at the moment. */
static CachedCommand command_once;
static MemoryContext context_once = NULL; /* reset for each of them */

/* A DestReceiver that keeps the first value and counts rows. */
typedef struct ResultReceiver
{
	DestReceiver pub;
	MemoryContext context; /* of the kept value */
	Size max_length;
	uint64 rows;
	bool one_column;
	char *value; /* of the first row's only column; may be NULL */
} ResultReceiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc tupdesc)
{
	ResultReceiver *receiver = (ResultReceiver *) self;

	receiver->one_column =
		tupdesc->natts == 1 && TupleDescAttr(tupdesc, 0)->atttypid != VOIDOID;
}

/*
 * A copy of a string in the current context, cut at max_length bytes, at a
 * character's border.
 */
char *
mj_runner_cut(const char *value, Size max_length)
{
	Size length = strlen(value);

	if (length > max_length)
		length = pg_mbcliplen(value, (int) length, (int) max_length);
	return pnstrdup(value, length);
}

/* Keep the text of the first row's only column. */
static void
keep_value(ResultReceiver *receiver, TupleTableSlot *slot)
{
	Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, 0);
	MemoryContext old;
	Oid output;
	bool is_varlena;
	bool isnull;
	Datum value = slot_getattr(slot, 1, &isnull);
	char *text;

	if (isnull)
		return;
	getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
	text = OidOutputFunctionCall(output, value);
	old = MemoryContextSwitchTo(receiver->context);
	receiver->value = mj_runner_cut(text, receiver->max_length);
	MemoryContextSwitchTo(old);
	pfree(text);
}

static bool
receiver_receive(TupleTableSlot *slot, DestReceiver *self)
{
	ResultReceiver *receiver = (ResultReceiver *) self;

	if (receiver->rows++ == 0 && receiver->one_column)
		keep_value(receiver, slot);
	return true;
}

static void
receiver_nothing(DestReceiver *self)
{
}

static void
receiver_init(ResultReceiver *receiver, MemoryContext context, Size max_length)
{
	memset(receiver, 0, sizeof(ResultReceiver));
	receiver->pub.receiveSlot = receiver_receive;
	receiver->pub.rStartup = receiver_startup;
	receiver->pub.rShutdown = receiver_nothing;
	receiver->pub.rDestroy = receiver_nothing;
	receiver->pub.mydest = DestNone;
	receiver->context = context;
	receiver->max_length = max_length;
}

/* Drop a job's plans and what belongs to them. */
static void
forget_command(CachedCommand *entry)
{
	int i;

	for (i = 0; i < entry->nstatements; i++)
		if (entry->plans[i] != NULL)
			DropCachedPlan(entry->plans[i]);
	MemoryContextDelete(entry->context);
	hash_search(cached_commands, &entry->job_id, HASH_REMOVE, NULL);
}

static void
forget_all_commands(void)
{
	HASH_SEQ_STATUS status;
	CachedCommand *entry;

	hash_seq_init(&status, cached_commands);
	while ((entry = hash_seq_search(&status)) != NULL)
		forget_command(entry);
}

/* A hash table of something, by job_id. */
static HTAB *
make_table(const char *name, Size entry_size)
{
	HASHCTL control;

	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(int64);
	control.entrysize = entry_size;
	return hash_create(name, 64, &control, HASH_ELEM | HASH_BLOBS);
}

/* Has this process not executed this command yet, as far as it remembers? */
static bool
is_first_time(const MjCommand *command)
{
	SeenJob *seen;
	bool found;

	if (seen_jobs != NULL &&
		hash_get_num_entries(seen_jobs) >= MJ_MAX_SEEN_JOBS)
	{
		hash_destroy(seen_jobs);
		seen_jobs = NULL;
	}
	if (seen_jobs == NULL)
		seen_jobs = make_table("motionify_jobs seen jobs", sizeof(SeenJob));
	seen = hash_search(seen_jobs, &command->job_id, HASH_ENTER, &found);
	found = found && seen->version == command->version;
	seen->version = command->version;
	return !found;
}

/* Parse a text, with no plans yet; all in the current context. */
static void
fill_entry(CachedCommand *entry, char *text, int32 version)
{
	List *raw = raw_parser(text, RAW_PARSE_DEFAULT);
	ListCell *cell;
	int i = 0;

	entry->version = version;
	entry->context = CurrentMemoryContext;
	entry->text = text;
	entry->nstatements = list_length(raw);
	entry->plans = palloc0(entry->nstatements * sizeof(CachedPlanSource *));
	entry->raw = palloc(entry->nstatements * sizeof(RawStmt *));
	foreach (cell, raw)
		entry->raw[i++] = lfirst_node(RawStmt, cell);
}

/*
 * A command that may never be executed again by this process: nothing of it is
 * kept, so that a thousand jobs that are due together do not each take memory
 * that is new to the process.  Raises syntax errors.
 */
static CachedCommand *
parse_once(const MjCommand *command)
{
	MemoryContext old;

	if (context_once == NULL)
		context_once = AllocSetContextCreate(TopMemoryContext,
											 "motionify_jobs command once",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context_once);
	old = MemoryContextSwitchTo(context_once);
	memset(&command_once, 0, sizeof(command_once));
	command_once.once = true;
	fill_entry(&command_once, pstrdup(command->text), command->version);
	MemoryContextSwitchTo(old);
	return &command_once;
}

/* Parse a command and enter it, with no plans yet.  Raises syntax errors. */
static CachedCommand *
enter_command(const MjCommand *command)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs command",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CachedCommand parsed = { 0 };
	CachedCommand *entry;

	/* until the parse has succeeded the context goes with the caller's */
	MemoryContextSetParent(context, old);
	fill_entry(&parsed, pstrdup(command->text), command->version);
	parsed.job_id = command->job_id;
	entry = hash_search(cached_commands, &command->job_id, HASH_ENTER, NULL);
	*entry = parsed;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, TopMemoryContext);
	return entry;
}

/* The cache entry of a command, parsed anew when it was changed. */
static CachedCommand *
find_command(const MjCommand *command)
{
	CachedCommand *entry;

	if (is_first_time(command))
		return parse_once(command);
	if (cached_commands == NULL)
		cached_commands =
			make_table("motionify_jobs plans", sizeof(CachedCommand));
	entry = hash_search(cached_commands, &command->job_id, HASH_FIND, NULL);
	if (entry != NULL && entry->version != command->version)
	{
		forget_command(entry);
		entry = NULL;
	}
	if (entry != NULL)
		return entry;
	if (hash_get_num_entries(cached_commands) >= MJ_MAX_CACHED_JOBS)
		forget_all_commands();
	return enter_command(command);
}

/*
 * The plan source of a command's i-th statement.  It is analyzed when its turn
 * has come, since it may use what an earlier one makes.
 */
static CachedPlanSource *
plan_of_statement(CachedCommand *entry, int i)
{
	MemoryContext old = MemoryContextSwitchTo(entry->context);
	RawStmt *raw = entry->raw[i];
	Oid types[] = { JSONBOID };
	CommandTag tag = CreateCommandTag(raw->stmt);
	CachedPlanSource *source = entry->plans[i];
	List *queries;

	if (!entry->once)
	{
		MemoryContextSwitchTo(old);
		if (source != NULL)
			return source;
		raw = copyObject(raw);
	}
	source = entry->once ? CreateOneShotCachedPlan(raw, entry->text, tag) :
						   CreateCachedPlan(raw, entry->text, tag);
	if (analyze_requires_snapshot(raw))
		PushActiveSnapshot(GetTransactionSnapshot());
	queries =
		pg_analyze_and_rewrite_fixedparams(raw, entry->text, types, 1, NULL);
	if (analyze_requires_snapshot(raw))
		PopActiveSnapshot();
	CompleteCachedPlan(source, queries, NULL, types, 1, NULL, NULL,
					   CURSOR_OPT_PARALLEL_OK, false);
	if (!entry->once)
		SaveCachedPlan(source);
	entry->plans[i] = source;
	MemoryContextSwitchTo(old);
	return source;
}

/* $1: the run's arguments. */
static ParamListInfo
make_params(const MjCommand *command)
{
	ParamListInfo params = makeParamList(1);

	params->params[0].value = command->args;
	params->params[0].isnull = command->args_isnull;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = JSONBOID;
	return params;
}

/* Run one statement in a portal; the receiver gets its rows. */
static void
execute_statement(CachedPlanSource *source, const MjCommand *command,
				  ResultReceiver *receiver, QueryCompletion *completion)
{
	Portal portal = CreatePortal("", true, true);
	MemoryContext old = MemoryContextSwitchTo(portal->portalContext);
	ParamListInfo params = make_params(command);
	CachedPlan *plan;

	portal->visible = false;
	MemoryContextSwitchTo(old);
	if (analyze_requires_snapshot(source->raw_parse_tree))
		PushActiveSnapshot(GetTransactionSnapshot());
	if (source->is_oneshot)
		MemoryContextSwitchTo(context_once); /* it survives a commit */
	plan = GetCachedPlan(source, params, NULL, NULL);
	MemoryContextSwitchTo(old);
	PortalDefineQuery(portal, NULL, source->query_string, source->commandTag,
					  plan->stmt_list, plan);
	if (ActiveSnapshotSet())
		PopActiveSnapshot();

	PortalStart(portal, params, 0, InvalidSnapshot);
	MJ_PORTAL_RUN(portal, true, (DestReceiver *) receiver, completion);
	PortalDrop(portal, false);
}

/* What the last statement's tag and rows come to. */
static void
set_result(const ResultReceiver *receiver, const QueryCompletion *completion,
		   MemoryContext context, MjCommandResult *result)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	bool counts = command_tag_display_rowcount(completion->commandTag);

	result->rows_affected = (int64) completion->nprocessed;
	result->rows_isnull = !counts;
	if (receiver->one_column && receiver->rows == 1)
		result->result = receiver->value;
	else if (counts)
		result->result = psprintf(completion->commandTag == CMDTAG_INSERT ?
									  "%s 0 " UINT64_FORMAT :
									  "%s " UINT64_FORMAT,
								  GetCommandTagName(completion->commandTag),
								  completion->nprocessed);
	else
		result->result = pstrdup(GetCommandTagName(completion->commandTag));
	MemoryContextSwitchTo(old);
}

/*
 * Execute a command as the current user.  Needs a transaction, with no
 * snapshot and no SPI; a command may end it and leave another.  Errors are the
 * command's own.  The current context must survive a commit.
 */
void
mj_runner_execute(const MjCommand *command, MjCommandResult *result)
{
	MemoryContext context = CurrentMemoryContext;
	CachedCommand *entry = find_command(command);
	int i;

	memset(result, 0, sizeof(MjCommandResult));
	result->rows_isnull = true;
	if (entry->nstatements > 1)
		BeginImplicitTransactionBlock(); /* as of several in one message */
	for (i = 0; i < entry->nstatements; i++)
	{
		ResultReceiver receiver;
		QueryCompletion completion;

		receiver_init(&receiver, context, command->max_result);
		InitializeQueryCompletion(&completion);
		CHECK_FOR_INTERRUPTS();
		execute_statement(plan_of_statement(entry, i), command, &receiver,
						  &completion);
		CommandCounterIncrement();
		MemoryContextSwitchTo(context);
		set_result(&receiver, &completion, context, result);
	}
	EndImplicitTransactionBlock();
}

/*
 * Take away what a command has left in the session, but for settings, LISTENs
 * and locks: those go with the transaction that several commands share.
 */
void
mj_runner_reset_objects(void)
{
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	ResetTempTableNamespace();
	ResetSequenceCaches();
}

/*
 * Make the session as clean as a new one, but for our plans: what DISCARD ALL
 * does, without its DISCARD PLANS.  Needs a transaction.
 */
void
mj_runner_reset_session(void)
{
	mj_runner_reset_objects();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	MJ_DROP_TEMPORARY_SLOTS();
}
