/*-------------------------------------------------------------------------
 *
 * api_run.c
 *	  The SQL function jobs.run_now().
 *
 * A caller that waits hands its request to the scheduler through shared
 * memory, so that the run is independent of the caller's transaction; the
 * executor sets the caller's latch after its commit.  A caller that does not
 * wait adds an ordinary row to the queue.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "access.h"
#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "history_store.h"
#include "job_lookup.h"
#include "job_store.h"
#include "queue_store.h"
#include "shmem.h"
#include "worker.h"
#include "xact.h"

/* The caller looks at how its run is doing this often. */
#define MJ_LOOK_EVERY_MS 1000L

/* After this many looks it says that it waits for an executor. */
#define MJ_LOOKS_BEFORE_NOTICE 2

/* After this many it gives up if there is no launcher. */
#define MJ_LOOKS_FOR_LAUNCHER 10

PG_FUNCTION_INFO_V1(mj_run_now);

/* A request, as its caller keeps it. */
typedef struct Waiting
{
	const MjJob *job;
	MjRequest *request; /* in shared memory */
	int64 run_id;
	MjOutcome outcome;
	TimestampTz started_at;
} Waiting;

/* Raise unless the workers will serve a request of this database. */
static void
check_workers(void)
{
	const char *database = get_database_name(MyDatabaseId);

	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	if (!mj_enabled || !mj_guc_database_is_served(database))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("jobs are switched off in database \"%s\"", database),
			 errhint(
				 "See motionify_jobs.enabled and motionify_jobs.databases.")));
	if (!mj_instance_is_own())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "database \"%s\" is a copy of another one, its jobs do not run here",
				 database),
			 errhint("SELECT jobs.adopt() makes them this database's own.")));
}

/* Raise unless the run can be waited for. */
static void
check_wait(const MjJob *job)
{
	if (mj_my_slot != NULL && mj_my_slot->kind == MJ_WORKER_EXECUTOR)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a job cannot wait for another job"),
			 errhint(
				 "Put it in the queue: jobs.run_now(..., wait => false).")));
	if (job->changed_here)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job \"%s\" was made or changed in this transaction",
						job->name),
				 errhint("Commit first, or use wait => false.")));
}

/* A free request slot, filled.  Raises when there is none. */
static MjRequest *
post_request(const MjJob *job, int64 run_id, dsm_segment *segment, Size size)
{
	MjRequest *request = NULL;
	int i;

	mj_lock();
	for (i = 0; i < MJ_MAX_REQUESTS && request == NULL; i++)
		if (mj_shared->requests[i].state == MJ_REQUEST_FREE)
			request = &mj_shared->requests[i];
	if (request != NULL)
	{
		request->state = MJ_REQUEST_NEW;
		request->database = MyDatabaseId;
		request->job_id = job->job_id;
		request->run_id = run_id;
		request->args =
			segment ? dsm_segment_handle(segment) : DSM_HANDLE_INVALID;
		request->args_size = size;
		request->caller_procno = mj_my_procno();
	}
	mj_unlock();
	if (request == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sessions wait for runs"),
				 errhint("Use wait => false.")));
	return request;
}

/* Free a request slot; also when the caller's wait ends in an error. */
static void
free_request(int code, Datum arg)
{
	MjRequest *request = (MjRequest *) DatumGetPointer(arg);

	mj_lock();
	memset(request, 0, sizeof(MjRequest));
	mj_unlock();
}

/* The process that has the run at hand, 0: none has yet. */
static int
pid_of_run(int64 run_id)
{
	MjSlot *slot;
	int pid;

	mj_lock();
	slot = mj_slot_of_run(run_id);
	if (slot == NULL)
		slot = mj_flight_slot(run_id);
	pid = slot ? slot->pid : 0;
	mj_unlock();
	return pid;
}

/* Is a process blocked by this one? */
static bool
is_blocked_by_me(int pid)
{
	Datum blockers = DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid));
	ArrayType *array = DatumGetArrayTypeP(blockers);
	int32 *pids = (int32 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int i;

	for (i = 0; i < n; i++)
		if (pids[i] == MyProcPid)
			return true;
	return false;
}

/*
 * Raise when there is still no launcher after so many looks: it is started
 * again within a second or two, if it can be at all.
 */
static void
check_launcher(int looks)
{
	bool launched;

	mj_lock();
	launched = mj_shared->launcher_procno >= 0;
	mj_unlock();
	if (!launched && looks >= MJ_LOOKS_FOR_LAUNCHER)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the motionify_jobs launcher is not running"),
				 errhint("See the server log.")));
}

static void
raise_unscheduled(const MjJob *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("job \"%s\" was unscheduled before it could run",
					job->name)));
}

/* Was the run queued, and is it in neither the queue nor the log? */
static bool
is_gone(Waiting *waiting)
{
	MjRequestState state;

	mj_lock();
	state = waiting->request->state;
	mj_unlock();
	return state == MJ_REQUEST_QUEUED && !mj_queue_exists(waiting->run_id) &&
		!mj_history_last(waiting->run_id, &waiting->outcome,
						 &waiting->started_at);
}

/* The process of a DDL statement that keeps the workers away; 0: none. */
static int
pid_of_blocker(void)
{
	MjDatabase *entry;
	int pid;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	pid = entry ? entry->blocker_pid : 0;
	mj_unlock();
	return pid;
}

/*
 * The process in a slot if it is one of this database that does bookkeeping, on
 * which a run that has not started may wait; 0: none.
 */
static int
pid_of_bookkeeper(int i)
{
	const MjSlot *slot = &mj_slots[i];
	int pid = 0;

	mj_lock();
	if (slot->state != MJ_SLOT_FREE && slot->kind != MJ_WORKER_GUEST &&
		slot->database == MyDatabaseId && slot->run_id == 0)
		pid = slot->pid;
	mj_unlock();
	return pid;
}

/* Raise if this caller has locked the tables that its run is to go through. */
static void
check_tables(const MjJob *job)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		int pid = pid_of_bookkeeper(i);

		if (pid != 0 && is_blocked_by_me(pid))
			ereport(
				ERROR,
				(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
				 errmsg(
					 "job \"%s\" waits for a lock on tables of schema jobs that this transaction holds",
					 job->name),
				 errhint(
					 "Commit before you call jobs.run_now(), or use wait => false.")));
	}
}

/*
 * A look at a run that takes its time: is it this caller that holds it up, by
 * itself or through DDL that the workers make way for?
 */
static void
look_at_run(Waiting *waiting, int looks)
{
	int pid = pid_of_run(waiting->run_id);
	int blocker = pid == 0 ? pid_of_blocker() : 0;

	check_launcher(looks);
	if (pid == 0 && is_gone(waiting))
		raise_unscheduled(waiting->job);
	if (pid == 0)
		check_tables(waiting->job);
	if (pid == 0 && looks == MJ_LOOKS_BEFORE_NOTICE)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " of job \"%s\" waits for %s",
						waiting->run_id, waiting->job->name,
						waiting->job->external ? "its worker" :
												 "a free executor")));
	if (blocker != 0 && is_blocked_by_me(blocker))
		ereport(
			ERROR,
			(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
			 errmsg("job \"%s\" waits for DDL that waits for this transaction",
					waiting->job->name),
			 errhint(
				 "Commit before you call jobs.run_now(), or use wait => false.")));
	if (pid == 0 || !is_blocked_by_me(pid))
		return;
	(void) mj_run_cancel(waiting->run_id,
						 "it waited for a lock that its caller held");
	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
		 errmsg("job \"%s\" waits for a lock that this transaction holds",
				waiting->job->name),
		 errdetail("Run " INT64_FORMAT " was cancelled.", waiting->run_id),
		 errhint(
			 "Commit before you call jobs.run_now(), or use wait => false.")));
}

/*
 * Has an attempt ended?  The log is looked at when the request says so, and
 * when the last look was a while ago.
 */
static bool
has_ended(Waiting *waiting, bool look)
{
	MjRequestState state;

	mj_lock();
	state = waiting->request->state;
	mj_unlock();
	if (state == MJ_REQUEST_REFUSED)
		raise_unscheduled(waiting->job);
	return (state == MJ_REQUEST_ENDED || look) &&
		mj_history_last(waiting->run_id, &waiting->outcome,
						&waiting->started_at);
}

/* Wait until an attempt of the run has ended.  Interruptible. */
static void
wait_for_end(Waiting *waiting)
{
	bool look = false;
	int looks = 0;

	while (!has_ended(waiting, look))
	{
		int events =
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					  MJ_LOOK_EVERY_MS, PG_WAIT_EXTENSION);

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		look = (events & WL_TIMEOUT) != 0;
		if (look)
			look_at_run(waiting, ++looks);
	}
}

/*
 * Arguments for the scheduler, in a segment of shared memory.  Not inlined: the
 * compiler would fear for its variables in the caller's error handling.
 */
static pg_noinline dsm_segment *
share_args(Datum args, bool isnull, Size *size)
{
	Jsonb *jsonb;
	dsm_segment *segment;

	*size = 0;
	if (isnull)
		return NULL;
	jsonb = DatumGetJsonbP(args);
	*size = VARSIZE(jsonb);
	segment = dsm_create(*size, 0);
	memcpy(dsm_segment_address(segment), jsonb, *size);
	return segment;
}

/* Have the run done and wait for its end. */
static void
run_and_wait(Waiting *waiting, Datum args, bool args_isnull)
{
	Size size;
	dsm_segment *segment = share_args(args, args_isnull, &size);

	waiting->request =
		post_request(waiting->job, waiting->run_id, segment, size);
	PG_ENSURE_ERROR_CLEANUP(free_request, PointerGetDatum(waiting->request));
	{
		mj_wake_database(MyDatabaseId, 0);
		wait_for_end(waiting);
	}
	PG_END_ENSURE_ERROR_CLEANUP(free_request,
								PointerGetDatum(waiting->request));
	free_request(0, PointerGetDatum(waiting->request));
	if (segment != NULL)
		dsm_detach(segment);
}

/* Put a run in the queue; the scheduler looks at it after the commit. */
static void
enqueue_run(const MjJob *job, int64 run_id, Datum args, bool args_isnull)
{
	MjRun run = { 0 };

	run.run_id = run_id;
	run.job_id = job->job_id;
	run.lane = mj_job_lane(job);
	run.state = "waiting";
	run.priority = job->priority;
	run.run_at = run.due_at = mj_clock_now();
	run.trigger = "manual";
	run.args = args;
	run.args_isnull = args_isnull;
	run.gated = mj_job_is_gated(job);
	run.concurrency_key = job->concurrency_key;
	mj_queue_insert(&run);
	mj_xact_wake(0, MJ_LANE_NONE);
}

/* The job's failure becomes the caller's. */
static void
raise_outcome(const MjJob *job, const MjOutcome *outcome)
{
	const char *s = outcome->sqlstate;

	if (strcmp(outcome->status, "succeeded") == 0)
		return;
	ereport(ERROR,
			(errcode(s != NULL && strlen(s) == 5 ?
						 MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]) :
						 ERRCODE_OBJECT_IN_USE),
			 errmsg("job \"%s\" %s: %s", job->name, outcome->status,
					outcome->error ? outcome->error : ""),
			 outcome->error_detail ? errdetail("%s", outcome->error_detail) : 0,
			 outcome->error_context ? errcontext("%s", outcome->error_context) :
									  0));
}

/* Tell a caller whose run failed that this was not the end of it. */
static void
notice_retry(const Waiting *waiting)
{
	TimestampTz at;

	if (strcmp(waiting->outcome.status, "succeeded") == 0 ||
		(at = mj_queue_retry_at(waiting->run_id)) == 0)
		return;
	ereport(NOTICE,
			(errmsg("run " INT64_FORMAT
					" of job \"%s\" %s and is tried again at %s",
					waiting->run_id, waiting->job->name,
					waiting->outcome.status, timestamptz_to_str(at))));
}

static Datum
text_or_null(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

/* The function's row. */
static Datum
make_row(FunctionCallInfo fcinfo, const Waiting *waiting)
{
	const MjOutcome *outcome = &waiting->outcome;
	TupleDesc tupdesc;
	Datum values[6] = { 0 };
	bool nulls[6] = { false };

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(waiting->run_id);
	values[1] = CStringGetTextDatum(outcome->status);
	values[2] = text_or_null(outcome->result, &nulls[2]);
	values[3] = Int64GetDatum(outcome->rows_affected);
	nulls[3] = outcome->rows_isnull;
	nulls[4] = waiting->started_at == 0;
	if (!nulls[4])
		values[4] =
			DirectFunctionCall2(timestamp_mi,
								TimestampTzGetDatum(outcome->finished_at),
								TimestampTzGetDatum(waiting->started_at));
	values[5] = text_or_null(outcome->error, &nulls[5]);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

/*
 * jobs.run_now(name text, args jsonb, wait boolean, raise boolean)
 *
 * Raises 42704 (no such job), 42501 (not the caller's), 55000 (the workers do
 * not serve it), 25006 (standby), 0A000 (inside a run), 40P01 (the run waits
 * for the caller), 22004 (no name); with raise, what the job raised.
 */
Datum
mj_run_now(PG_FUNCTION_ARGS)
{
	bool wait = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	bool raise = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	Datum args = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	Waiting waiting = { 0 };
	MjJob job;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("job name must not be null")));
	PreventCommandDuringRecovery("jobs.run_now()");
	PreventCommandIfReadOnly("jobs.run_now()");
	mj_job_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), &job);
	mj_access_check_operate(&job);
	check_workers();
	mj_job_check_runs_here(&job);

	waiting.job = &job;
	if (wait)
		check_wait(&job);
	waiting.run_id = mj_queue_next_run_id();
	waiting.outcome.rows_isnull = true;
	if (wait)
	{
		run_and_wait(&waiting, args, PG_ARGISNULL(1));
		notice_retry(&waiting);
		if (raise)
			raise_outcome(&job, &waiting.outcome);
	}
	else
	{
		enqueue_run(&job, waiting.run_id, args, PG_ARGISNULL(1));
		waiting.outcome.status = "queued";
	}
	PG_RETURN_DATUM(make_row(fcinfo, &waiting));
}
