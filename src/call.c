/*-------------------------------------------------------------------------
 *
 * call.c
 *	  A call: an HTTP request that the extension itself wants made, no job's.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "call.h"
#include "clock.h"
#include "queue_store.h"
#include "store.h"
#include "xact.h"

/* Calls are few and short: they come before the runs of jobs. */
#define CALL_PRIORITY (-1000)

/* The run of a call: ready, or held until the scheduler says that it is its turn. */
static void
queue_run(const MjCall *call)
{
	MjRun run = { 0 };

	run.run_id = call->run_id;
	run.job_id = MJ_CALL_JOB_ID;
	run.lane = MJ_LANE_HTTP;
	run.state = "ready";
	run.priority = CALL_PRIORITY;
	run.run_at = run.due_at = call->created_at;
	run.trigger = "queue";
	run.args_isnull = true;
	if (call->line != NULL)
	{
		run.state = "held";
		run.gated = true;
		run.concurrency_key = call->line;
	}
	(void) mj_queue_insert(&run);
	if (call->line != NULL)
		mj_xact_wake_soon();
	else
		mj_xact_wake_ready(MJ_LANE_HTTP, 1);
}

/*
 * Queue a call in the current transaction, and return its run id.  See call.h.
 * Needs a transaction that may write.
 */
int64
mj_call_queue(const MjCall *call)
{
	MjCall whole = *call;

	whole.run_id = mj_queue_next_run_id();
	whole.created_at = mj_clock_now();
	if (whole.method == NULL)
		whole.method = "POST";
	if (whole.role == NULL)
	{
		whole.role_oid = mj_store_owner();
		whole.role = GetUserNameFromId(whole.role_oid, false);
	}
	if (whole.max_attempts == 0)
		whole.max_attempts = MJ_CALL_MAX_ATTEMPTS;
	if (whole.retry_delay_s == 0)
		whole.retry_delay_s = MJ_CALL_RETRY_DELAY_S;
	mj_call_insert(&whole);
	queue_run(&whole);
	return whole.run_id;
}
