/*-------------------------------------------------------------------------
 *
 * api_active.c
 *	  The SQL functions about the run at hand: current_run_id, current_args,
 *	  progress, portal_rest; and of the view jobs.active.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
#include "utils/wait_event.h"

#include "access.h"
#include "current.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_current_run_id);
PG_FUNCTION_INFO_V1(mj_api_current_args);
PG_FUNCTION_INFO_V1(mj_api_progress);
PG_FUNCTION_INFO_V1(mj_api_portal_rest);
PG_FUNCTION_INFO_V1(mj_view_worker_slots);

/* Arguments of jobs.progress() */
enum
{
	ARG_DONE,
	ARG_TOTAL,
	ARG_NOTE
};

/* Columns of jobs.worker_slots() */
enum
{
	SLOT_WORKER_ID,
	SLOT_RUN_ID,
	SLOT_DONE,
	SLOT_TOTAL,
	SLOT_NOTE,
	SLOT_CANCELLING,
	SLOT_COLUMNS
};

/* jobs.current_run_id() returns bigint: NULL outside of a run. */
Datum
mj_api_current_run_id(PG_FUNCTION_ARGS)
{
	int64 run_id = mj_current_run_id();

	if (run_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(run_id);
}

/* jobs.current_args() returns jsonb: NULL also outside of a run. */
Datum
mj_api_current_args(PG_FUNCTION_ARGS)
{
	Datum args;

	if (!mj_current_args(&args))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(args);
}

/* Raise 22023 for a negative count. */
static void
check_count(const char *name, int64 count)
{
	if (count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative: " INT64_FORMAT, name,
						count)));
}

/*
 * jobs.progress(done bigint, total bigint, note text): 22004, 22023.  Nothing
 * but the check of its arguments outside of a run, so that a job's functions
 * can be called by hand.
 */
Datum
mj_api_progress(PG_FUNCTION_ARGS)
{
	int64 total = PG_ARGISNULL(ARG_TOTAL) ? 0 : PG_GETARG_INT64(ARG_TOTAL);

	if (PG_ARGISNULL(ARG_DONE))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("done must not be null")));
	check_count("done", PG_GETARG_INT64(ARG_DONE));
	check_count("total", total);
	mj_current_progress(PG_GETARG_INT64(ARG_DONE),
						PG_ARGISNULL(ARG_TOTAL) ? NULL : &total,
						PG_ARGISNULL(ARG_NOTE) ?
							NULL :
							text_to_cstring(PG_GETARG_TEXT_PP(ARG_NOTE)));
	PG_RETURN_VOID();
}

/* Wait, holding nothing: it commits.  The caller has seen that it may. */
static void
rest(double seconds)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	SPI_commit();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) (seconds * 1000), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	SPI_finish();
}

/*
 * CALL jobs.portal_rest(seconds double precision): commit, and wait, at most so
 * long, and a minute; neither for NULL.  It may end early.  Raises 2D000.
 */
Datum
mj_api_portal_rest(PG_FUNCTION_ARGS)
{
	double seconds = PG_ARGISNULL(0) ? 0 : PG_GETARG_FLOAT8(0);

	if (!mj_xact_may_commit(fcinfo))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg("jobs.portal_rest() cannot be called inside a transaction"),
			 errdetail("It commits, so that nothing is held meanwhile.")));
	if (seconds > 0)
		rest(Min(seconds, 60));
	PG_RETURN_VOID();
}

/* Copy the slots of this database that have a run at hand; how many. */
static int
copy_slots(MjSlot **slots)
{
	int n = 0;
	int i;

	if (!mj_shmem_available())
		return 0;
	*slots = palloc(mj_shared->nslots * sizeof(MjSlot));
	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].database == MyDatabaseId && mj_slots[i].run_id != 0)
			(*slots)[n++] = mj_slots[i];
	mj_unlock();
	return n;
}

/* Add the row of a slot. */
static void
add_slot(ReturnSetInfo *result, const MjSlot *slot, bool sees_role)
{
	const MjProgress *progress = &slot->progress;
	Datum values[SLOT_COLUMNS] = { 0 };
	bool nulls[SLOT_COLUMNS] = { false };

	values[SLOT_WORKER_ID] = Int64GetDatum(slot->worker_id);
	values[SLOT_RUN_ID] = Int64GetDatum(slot->run_id);
	values[SLOT_DONE] = Int64GetDatum(progress->done);
	values[SLOT_TOTAL] = Int64GetDatum(progress->total);
	values[SLOT_CANCELLING] = BoolGetDatum(slot->cancel_at != 0);
	nulls[SLOT_DONE] = !progress->reported;
	nulls[SLOT_TOTAL] = !progress->has_total;
	nulls[SLOT_NOTE] = progress->note[0] == '\0' || !sees_role;
	if (!nulls[SLOT_NOTE])
		values[SLOT_NOTE] = CStringGetTextDatum(progress->note);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * jobs.worker_slots() returns setof record: for jobs.active.  Slots of lanes
 * that the current user may see; an SQL run's lane is its role.
 */
Datum
mj_view_worker_slots(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bool sees_all = mj_access_sees_all();
	MjSlot *slots;
	int n;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	n = copy_slots(&slots);
	for (i = 0; i < n; i++)
	{
		bool sees_role = mj_access_sees_role((Oid) slots[i].lane);

		if (sees_all || sees_role)
			add_slot(result, &slots[i], sees_role);
	}
	return (Datum) 0;
}
