/*-------------------------------------------------------------------------
 *
 * api_health.c
 *	  What the views and functions that watch jobs cannot ask in SQL: the
 *	  processes, the figures of a job, by which id its history is found.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access.h"
#include "argument.h"
#include "clock.h"
#include "figures_store.h"
#include "guc.h"
#include "job_lookup.h"
#include "shmem.h"
#include "why_not.h"

PG_FUNCTION_INFO_V1(mj_view_server_state);
PG_FUNCTION_INFO_V1(mj_view_job_id);
PG_FUNCTION_INFO_V1(mj_view_job_figures);

/* Columns of jobs.server_state() */
enum
{
	STATE_LAUNCHER_PID,
	STATE_MAX_EXECUTORS,
	STATE_EXECUTORS,
	STATE_BUSY,
	STATE_SCHEDULERS,
	STATE_SCHEDULER_PID,
	STATE_SCHEDULER_FAILURES,
	STATE_STARVED_SINCE,
	STATE_WHY_NOT,
	STATE_COLUMNS
};

/* What is counted in shared memory. */
typedef struct MjServerState
{
	int launcher_pid;		   /* 0: it does not run */
	int executors;			   /* on the server */
	int busy;				   /* of these */
	int schedulers;			   /* on the server */
	int scheduler_pid;		   /* of this database; 0: none runs */
	int scheduler_failures;	   /* of this database, in a row */
	TimestampTz starved_since; /* a lane of this database; 0: none */
} MjServerState;

/* Count a slot.  Lock held. */
static void
count_slot(const MjSlot *slot, MjServerState *state)
{
	if (slot->state == MJ_SLOT_FREE)
		return;
	if (slot->kind == MJ_WORKER_EXECUTOR)
	{
		state->executors++;
		state->busy += slot->state == MJ_SLOT_BUSY;
	}
	else if (slot->kind == MJ_WORKER_SCHEDULER)
	{
		state->schedulers++;
		if (slot->database == MyDatabaseId)
			state->scheduler_pid = slot->pid;
	}
}

/*
 * Since when has a lane of this database lacked an executor?  The executors of
 * mail and HTTP take all that there is.  Lock held.
 */
static TimestampTz
starved_since(void)
{
	TimestampTz since = 0;
	int i;

	for (i = 0; i < MJ_MAX_LANES; i++)
	{
		const MjLane *lane = &mj_shared->lanes[i];

		if (lane->database == MyDatabaseId && mj_lane_lacks(lane) > 0 &&
			lane->since != 0 && (since == 0 || lane->since < since))
			since = lane->since;
	}
	return since;
}

/* Look at shared memory; all is zero without it. */
static void
read_state(MjServerState *state)
{
	MjDatabase *entry;
	int i;

	memset(state, 0, sizeof(MjServerState));
	if (!mj_shmem_available())
		return;
	mj_lock();
	if (mj_shared->launcher_procno >= 0)
		state->launcher_pid = mj_shared->launcher_pid;
	for (i = 0; i < mj_shared->nslots; i++)
		count_slot(&mj_slots[i], state);
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		state->scheduler_failures = entry->failures;
	state->starved_since = starved_since();
	mj_unlock();
}

/*
 * jobs.server_state() returns record: the processes of the server and this
 * database, as numbers, and why nothing runs here.  For whoever may read the
 * views.
 */
Datum
mj_view_server_state(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	MjServerState state;
	StringInfoData reasons;
	Datum values[STATE_COLUMNS];
	bool nulls[STATE_COLUMNS] = { false };

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	read_state(&state);
	if (state.starved_since != 0) /* real time, as the launcher's waits are */
		state.starved_since += mj_clock_now() - mj_clock_real();
	initStringInfo(&reasons);
	mj_why_not_here(mj_instance_is_own(), &reasons);
	values[STATE_LAUNCHER_PID] = Int32GetDatum(state.launcher_pid);
	values[STATE_MAX_EXECUTORS] = Int32GetDatum(mj_max_workers);
	values[STATE_EXECUTORS] = Int32GetDatum(state.executors);
	values[STATE_BUSY] = Int32GetDatum(state.busy);
	values[STATE_SCHEDULERS] = Int32GetDatum(state.schedulers);
	values[STATE_SCHEDULER_PID] = Int32GetDatum(state.scheduler_pid);
	values[STATE_SCHEDULER_FAILURES] = Int32GetDatum(state.scheduler_failures);
	values[STATE_STARVED_SINCE] = TimestampTzGetDatum(state.starved_since);
	values[STATE_WHY_NOT] = CStringGetTextDatum(reasons.data);
	nulls[STATE_LAUNCHER_PID] = state.launcher_pid == 0;
	nulls[STATE_SCHEDULER_PID] = state.scheduler_pid == 0;
	nulls[STATE_STARVED_SINCE] = state.starved_since == 0;
	nulls[STATE_WHY_NOT] = reasons.len == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/*
 * jobs.job_id(name text) returns bigint: by which id the history of a job is
 * found; 0: mails.  NULL: of all.  42704 for a name that no job has, 42501 if
 * the current user may not see it.
 */
Datum
mj_view_job_id(PG_FUNCTION_ARGS)
{
	MjJob job;
	const char *name;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	name = mj_argument_text(fcinfo, 0);
	if (strcmp(name, "mail") == 0)
		PG_RETURN_INT64(0);
	mj_job_require(name, &job);
	mj_access_check_see(&job);
	PG_RETURN_INT64(job.job_id);
}

/* Does the current user see a job of that role, as jobs.status decides it? */
static bool
sees_job(const MjFigures *figures)
{
	Oid role = figures->role_oid;

	if (mj_access_sees_all())
		return true;
	if (!OidIsValid(role))
		role = get_role_oid(figures->role, true);
	return mj_access_sees_role(role);
}

/*
 * jobs.job_figures(job_id bigint) returns record: what the history of a job
 * comes to.  For jobs.status; NULL of a job that the current user may not see.
 */
Datum
mj_view_job_figures(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	MjFigures figures;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!mj_figures_of_job(PG_GETARG_INT64(0), mj_clock_now(), &figures) ||
		!sees_job(&figures))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor),
										  figures.values, figures.nulls)));
}
