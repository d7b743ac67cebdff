/*-------------------------------------------------------------------------
 *
 * enqueue_store.h
 *	  The way into the queue (jobs.queue) for callers' runs.
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ENQUEUE_STORE_H
#define MJ_ENQUEUE_STORE_H

#include "datatype/timestamp.h"

#include "job_store.h"
#include "store.h"

/* What a caller's run, or each of many, is to be.  Strings may be NULL. */
typedef struct MjEntry
{
	int64 job_id;
	int64 lane;
	const char *state; /* waiting, held or ready */
	int32 priority;
	TimestampTz run_at;
	bool gated; /* held until the scheduler admits it */
	const char *concurrency_key;
	const char *throttle_key; /* not NULL */
	const char *dedupe_key;
	bool dedupe_to_end;		/* not only until it starts */
	TimestampTz expires_at; /* 0: never */
	const char *trigger;	/* queue or batch */
	TimestampTz asked_at;	/* when it was asked for */
} MjEntry;

/*
 * The INSERT of runs for the elements of an array, for this and other stores: $1
 * to $12 are of mj_param_entry(), $13 is the array.
 */
#define MJ_ENTRY_COLUMNS \
	"INSERT INTO jobs.queue AS q (job_id, lane, state, priority, run_at," \
	" due_at, gated, concurrency_key, expires_at, dedupe_key, dedupe_to_end," \
	" trigger, throttle_key, args, enqueued) "
#define MJ_ENTRY_VALUES "$1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, $11, $12"
#define MJ_ENTRY_TYPES \
	INT8OID, INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID, BOOLOID, TEXTOID, \
		TIMESTAMPTZOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID
#define MJ_INSERT_MANY \
	MJ_ENTRY_COLUMNS "SELECT " MJ_ENTRY_VALUES ", coalesce(a, '{}'), true" \
					 " FROM unnest($13) a RETURNING run_id"

/* What becomes of a run whose dedupe key a live one has. */
typedef enum MjDuplicate
{
	MJ_DUPLICATE_KEEP,	   /* the live one stays as it is */
	MJ_DUPLICATE_REPLACE,  /* it becomes this one */
	MJ_DUPLICATE_PUSH_BACK /* it gets these arguments, and starts later */
} MjDuplicate;

extern void mj_entry_of_job(const MjJob *job, TimestampTz now, MjEntry *entry);
extern void mj_entry_settle(MjEntry *entry, const MjJob *job, TimestampTz now);
extern void mj_param_entry(MjParams *params, const MjEntry *entry);
extern int64 mj_enqueue(const MjEntry *entry, Datum args);
extern int mj_enqueue_many(const MjEntry *entry, Datum args, int64 **run_ids);
extern int64 mj_enqueue_unless_live(const MjEntry *entry, Datum args,
									MjDuplicate duplicate);

#endif /* MJ_ENQUEUE_STORE_H */
