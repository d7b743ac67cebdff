/*-------------------------------------------------------------------------
 *
 * flow_store.c
 *	  Whether mail can be sent (jobs.mail_transport_state).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "store.h"
#include "flow_store.h"

#define TRANSPORT_COLUMNS \
	"SELECT state, since, level, next_try_at, sqlstate, reason" \
	" FROM jobs.mail_transport_state"

static const char *const state_names[] = { "running", "slowed", "paused" };

static MjStatement read_statement = { TRANSPORT_COLUMNS, 0 };

static MjStatement lock_statement = { TRANSPORT_COLUMNS " FOR UPDATE", 0 };

static MjStatement write_statement = {
	"UPDATE jobs.mail_transport_state SET state = $1, since = $2, level = $3,"
	" next_try_at = $4, sqlstate = $5, reason = $6",
	6,
	{ TEXTOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID }
};

static MjStatement hasten_statement = {
	"UPDATE jobs.mail_transport_state SET next_try_at = $1"
	" WHERE state <> 'running'",
	1,
	{ TIMESTAMPTZOID }
};

/* Nobody need look then if no mail waits for it. */
static MjStatement next_try_statement = {
	"SELECT next_try_at FROM jobs.mail_transport_state"
	" WHERE next_try_at > $1 AND EXISTS (SELECT FROM jobs.queue"
	"  WHERE lane = 0 AND state = 'ready')",
	1,
	{ TIMESTAMPTZOID }
};

/* A row whose state is not known counts as running. */
static MjFlowState
state_of_name(const char *name)
{
	int i;

	for (i = 0; i < lengthof(state_names); i++)
		if (strcmp(state_names[i], name) == 0)
			return (MjFlowState) i;
	return MJ_FLOW_RUNNING;
}

/* The row; without one it is running. */
static void
read_row(MjStatement *statement, MjMailFlow *flow)
{
	MjScope scope;

	memset(flow, 0, sizeof(MjMailFlow));
	mj_store_enter(&scope);
	if (mj_store_run(statement, NULL) > 0)
	{
		flow->state = state_of_name(mj_row_text(&scope, 0, 1));
		flow->since = mj_row_time(0, 2);
		flow->level = mj_row_int32(0, 3);
		flow->next_try_at = mj_row_time(0, 4);
		flow->sqlstate = mj_row_text(&scope, 0, 5);
		flow->reason = mj_row_text(&scope, 0, 6);
	}
	mj_store_leave(&scope);
}

/* How it stands. */
void
mj_flow_read(MjMailFlow *flow)
{
	read_row(&read_statement, flow);
}

/* How it stands, to be written: waits for others who do so. */
void
mj_flow_lock(MjMailFlow *flow)
{
	read_row(&lock_statement, flow);
}

/* How it stands from now on; the caller has it from mj_flow_lock(). */
void
mj_flow_write(const MjMailFlow *flow)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_text(&params, state_names[flow->state]);
	mj_param_time(&params, flow->since);
	mj_param_int32(&params, flow->level);
	mj_param_time(&params, flow->next_try_at);
	mj_param_text(&params, flow->sqlstate);
	mj_param_text(&params, flow->reason);
	mj_store_run(&write_statement, &params);
	mj_store_leave(&scope);
}

/* Mail that waits for it is to be tried now; false: none does. */
bool
mj_flow_hasten(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	bool waited;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	waited = mj_store_run(&hasten_statement, &params) > 0;
	mj_store_leave(&scope);
	return waited;
}

/* When ready mail is tried again that may not be now; DT_NOEND: there is none. */
TimestampTz
mj_flow_next_try(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz next = DT_NOEND;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	if (mj_store_run(&next_try_statement, &params) > 0)
		next = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}
