/*-------------------------------------------------------------------------
 *
 * enqueue_store.c
 *	  The way into the queue (jobs.queue) for callers' runs.
 *
 * That one run of a dedupe key is live is the word of a unique index, so it
 * holds whatever callers do at once: who comes second waits until the first one
 * has committed or not.  A claim takes the key off the row, in the update by
 * which the run starts; so a run that is to be changed either has not started,
 * or is another one's.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "enqueue_store.h"
#include "table.h"

#define INSERT_ENTRY MJ_ENTRY_COLUMNS "VALUES (" MJ_ENTRY_VALUES ", $13, true) "
#define ON_DUPLICATE \
	"ON CONFLICT (job_id, dedupe_key) WHERE dedupe_key IS NOT NULL "

/* One run is put into the table without a statement: see param_row(). */
static MjTable queue_table = {
	"queue",
	"job_id, lane, state, priority, run_at, gated, concurrency_key, expires_at,"
	" dedupe_key, dedupe_to_end, trigger, throttle_key, args, run_id, due_at, enqueued, missed,"
	" attempt, failures, crashes"
};

/* Their run ids are in the order of the array. */
static MjStatement insert_many = {
	MJ_INSERT_MANY,
	13,
	{ MJ_ENTRY_TYPES, JSONBARRAYOID },
};

static MjStatement insert_or_keep = {
	INSERT_ENTRY ON_DUPLICATE "DO NOTHING RETURNING run_id",
	13,
	{ MJ_ENTRY_TYPES, JSONBOID },
};

static MjStatement insert_or_replace = {
	INSERT_ENTRY ON_DUPLICATE
	"DO UPDATE SET lane = excluded.lane, state = excluded.state,"
	" priority = excluded.priority, run_at = excluded.run_at,"
	" due_at = excluded.due_at, gated = excluded.gated,"
	" concurrency_key = excluded.concurrency_key,"
	" throttle_key = excluded.throttle_key,"
	" expires_at = excluded.expires_at, args = excluded.args,"
	" dedupe_to_end = excluded.dedupe_to_end "
	"WHERE q.attempt = 0 RETURNING run_id",
	13,
	{ MJ_ENTRY_TYPES, JSONBOID },
};

/* One that is ready, or held, waits again if it is to start later. */
static MjStatement insert_or_push_back = {
	INSERT_ENTRY ON_DUPLICATE
	"DO UPDATE SET args = excluded.args, due_at = greatest(q.due_at,"
	" excluded.due_at), run_at = greatest(q.run_at, excluded.run_at),"
	" state = CASE WHEN excluded.run_at > q.run_at"
	" AND excluded.state = 'waiting' THEN 'waiting' ELSE q.state END "
	"WHERE q.attempt = 0 RETURNING run_id",
	13,
	{ MJ_ENTRY_TYPES, JSONBOID },
};

static MjStatement find_started = {
	"SELECT run_id FROM jobs.queue"
	" WHERE job_id = $1 AND dedupe_key = $2 AND attempt > 0",
	2,
	{ INT8OID, TEXTOID },
};

/* It does not start before the caller has committed. */
static MjStatement lock_unstarted = {
	"SELECT run_id FROM jobs.queue"
	" WHERE job_id = $1 AND dedupe_key = $2 AND attempt = 0 FOR SHARE",
	2,
	{ INT8OID, TEXTOID },
};

/* $1 to $12 of the statements that insert; for this and other stores. */
void
mj_param_entry(MjParams *params, const MjEntry *entry)
{
	mj_param_int64(params, entry->job_id);
	mj_param_int64(params, entry->lane);
	mj_param_text(params, entry->state);
	mj_param_int32(params, entry->priority);
	mj_param_time(params, entry->run_at);
	mj_param_bool(params, entry->gated);
	mj_param_text(params, entry->concurrency_key);
	mj_param_time(params, entry->expires_at);
	mj_param_text(params, entry->dedupe_key);
	mj_param_bool(params, entry->dedupe_to_end);
	mj_param_text(params, entry->trigger);
	mj_param_text(params, entry->throttle_key);
}

/* What a run of a job is to be if nothing else is said: now, of trigger queue. */
void
mj_entry_of_job(const MjJob *job, TimestampTz now, MjEntry *entry)
{
	memset(entry, 0, sizeof(MjEntry));
	entry->job_id = job->job_id;
	entry->lane = mj_job_lane(job);
	entry->priority = job->priority;
	entry->run_at = entry->asked_at = now;
	entry->concurrency_key = job->concurrency_key;
	entry->throttle_key = "";
	entry->trigger = "queue";
}

/*
 * Whether a run is gated, and what it is at first, from the rest.  It is due now
 * if its instant has passed: lag counts from when it was asked for.  One that has
 * expired already waits, so that no executor gets hold of it before the
 * scheduler ends it.
 */
void
mj_entry_settle(MjEntry *entry, const MjJob *job, TimestampTz now)
{
	entry->run_at = Max(entry->run_at, now);
	entry->gated = entry->concurrency_key != NULL || mj_job_is_gated(job);
	if (job->paused)
		entry->state = "paused";
	else if (entry->run_at > now ||
			 (entry->expires_at != 0 && entry->expires_at <= now))
		entry->state = "waiting";
	else
		entry->state = entry->gated ? "held" : "ready";
}

/* Insert one with a statement; 0 if that has inserted or changed none. */
static int64
insert_with(MjStatement *statement, const MjEntry *entry, Datum args)
{
	MjParams params = { 0 };

	mj_param_entry(&params, entry);
	mj_param_datum(&params, args, false);
	return mj_store_run(statement, &params) > 0 ? mj_row_int64(0, 1) : 0;
}

/* The columns of queue_table. */
static void
param_row(MjParams *params, const MjEntry *entry, Datum args, int64 run_id)
{
	int i;

	mj_param_entry(params, entry);
	mj_param_datum(params, args, false);
	mj_param_int64(params, run_id);
	mj_param_time(params, entry->run_at);
	mj_param_bool(params, true);
	for (i = 0; i < 4; i++) /* missed, attempt, failures, crashes */
		mj_param_int32(params, 0);
}

/* Add a run of a job, which has no dedupe key.  Returns its id. */
int64
mj_enqueue(const MjEntry *entry, Datum args)
{
	MjParams row = { 0 };
	int64 run_id = mj_table_nextval("run_id_seq");

	Assert(entry->dedupe_key == NULL);
	param_row(&row, entry, args, run_id);
	mj_table_insert(&queue_table, &row);
	return run_id;
}

/*
 * Add a run for each element of an array of arguments, NULL for none.  Gives
 * their ids, in that order; returns how many.
 */
int
mj_enqueue_many(const MjEntry *entry, Datum args, int64 **run_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	mj_param_entry(&params, entry);
	mj_param_datum(&params, args, false);
	n = mj_store_run(&insert_many, &params);
	*run_ids = MemoryContextAllocHuge(scope.caller, Max(n, 1) * sizeof(int64));
	for (row = 0; row < n; row++)
		(*run_ids)[row] = mj_row_int64(row, 1);
	mj_store_leave(&scope);
	return (int) n;
}

/* The live run of an entry's dedupe key, if a statement finds it; else 0. */
static int64
find_with(MjStatement *statement, const MjEntry *entry)
{
	MjParams params = { 0 };

	mj_param_int64(&params, entry->job_id);
	mj_param_text(&params, entry->dedupe_key);
	return mj_store_run(statement, &params) > 0 ? mj_row_int64(0, 1) : 0;
}

/* The statement by which a run is inserted, or the live one changed. */
static MjStatement *
statement_for(MjDuplicate duplicate)
{
	switch (duplicate)
	{
		case MJ_DUPLICATE_REPLACE:
			return &insert_or_replace;
		case MJ_DUPLICATE_PUSH_BACK:
			return &insert_or_push_back;
		default:
			return &insert_or_keep;
	}
}

/*
 * The same for a run that has a dedupe key.  If a live run of the job has it,
 * that is kept or changed, and its id returned.  One that is kept is locked, so
 * that it does not start before what the caller has done can be seen.  One that
 * has started is kept in any case, and not locked, for its executor would have
 * to wait.  Raises 40001 in a caller's transaction that is too old to see it.
 */
int64
mj_enqueue_unless_live(const MjEntry *entry, Datum args, MjDuplicate duplicate)
{
	MjScope scope;
	int64 run_id;

	mj_store_enter(&scope);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if ((run_id = find_with(&find_started, entry)) != 0)
			break;
		if (duplicate == MJ_DUPLICATE_KEEP &&
			(run_id = find_with(&lock_unstarted, entry)) != 0)
			break;
		if ((run_id = insert_with(statement_for(duplicate), entry, args)) != 0)
			break;
	}
	mj_store_leave(&scope);
	return run_id;
}
