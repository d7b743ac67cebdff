/*-------------------------------------------------------------------------
 *
 * batch_end.c
 *	  The end of a batch: the run that follows.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_end.h"
#include "batch_store.h"
#include "job_store.h"

/* Put the run into the queue that the end of a batch makes, if it makes one. */
static void
follow(const MjEndedBatch *batch, TimestampTz now)
{
	MjEntry entry;
	MjJob job;

	if (batch->then_job_id == 0)
		return;
	if (!mj_job_by_id(batch->then_job_id, &job) || job.foreign_origin ||
		!OidIsValid(job.role_oid))
	{
		ereport(LOG,
				(errmsg("no job runs after the end of batch " INT64_FORMAT,
						batch->batch_id),
				 errdetail("The job was unscheduled, or its role is gone."),
				 errhidestmt(true)));
		return;
	}
	mj_entry_of_job(&job, now, &entry);
	entry.trigger = "batch";
	mj_entry_settle(&entry, &job, now);
	mj_batch_set_then(batch->batch_id, mj_enqueue(&entry, batch->then_args));
}

/*
 * End the batches that have no live run.  *open: there are others.  Returns
 * whether there is more to do at once.  Needs the transaction of a tick.
 */
bool
mj_batch_end_pass(TimestampTz now, bool *open)
{
	MjEndedBatch *batches;
	int n;
	int i;

	*open = mj_batch_any_open();
	if (!*open)
		return false;
	n = mj_batch_take_ended(now, &batches);
	for (i = 0; i < n; i++)
		follow(&batches[i], now);
	if (n > 0)
		*open = mj_batch_any_open();
	return n > 0;
}
