/*-------------------------------------------------------------------------
 *
 * announcement.c
 *	  The announcement: workers outside are told of runs that are ready.
 *
 * Each external job has a channel.  When a tick finds runs of it ready that the
 * tick before did not, it is notified, once.  A NOTIFY by those who queue runs
 * would make their commits wait for each other; here there is one notifier a
 * database, and what becomes ready together is one message.
 *
 * Only the first runs of a job are looked at.  While more than these are ready
 * no worker is idle for want of a message: each was told of these, and claims
 * until nothing is left.  What was announced is remembered by this process
 * alone: the next scheduler announces all that is ready once more.
 *
 * The messages have a transaction of their own, after the tick's, for it can
 * fail for reasons that are nobody's here: the server's queue of notifications
 * is full while some session that listens does not read.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "announcement.h"
#include "worker.h"

/* Runs of a job that are looked at. */
#define MJ_READY_LIMIT 64

/* Who else notifies is waited for so long. */
#define MJ_NOTIFY_TIMEOUT "1s"

/* What was announced and was ready still at the last tick, sorted. */
static MjAnnouncement known = { 0, NULL };

static int
compare_ready(const void *a, const void *b)
{
	const MjReadyRun *x = a;
	const MjReadyRun *y = b;

	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	if (x->run_id != y->run_id)
		return x->run_id < y->run_id ? -1 : 1;
	return x->version < y->version ? -1 : x->version > y->version;
}

/* Look what is ready.  Needs the transaction of a tick. */
void
mj_announcement_find(MjAnnouncement *found)
{
	found->nruns = mj_lease_ready(MJ_READY_LIMIT, &found->runs);
	qsort(found->runs, found->nruns, sizeof(MjReadyRun), compare_ready);
}

/* Was a run that is ready not ready at the last tick? */
static bool
is_news(const MjReadyRun *run)
{
	return known.nruns == 0 ||
		bsearch(run, known.runs, known.nruns, sizeof(MjReadyRun),
				compare_ready) == NULL;
}

/* The lanes that have news, of runs that are sorted; returns how many. */
static int
lanes_with_news(const MjAnnouncement *found, int64 *lanes)
{
	int n = 0;
	int i;

	for (i = 0; i < found->nruns; i++)
		if ((n == 0 || lanes[n - 1] != found->runs[i].lane) &&
			is_news(&found->runs[i]))
			lanes[n++] = found->runs[i].lane;
	return n;
}

/* Remember what has been announced. */
static void
remember(const MjAnnouncement *found)
{
	Size size = found->nruns * sizeof(MjReadyRun);

	if (known.runs != NULL)
		pfree(known.runs);
	known.runs = size > 0 ? MemoryContextAlloc(TopMemoryContext, size) : NULL;
	known.nruns = found->nruns;
	if (size > 0)
		memcpy(known.runs, found->runs, size);
}

/* The transaction that notifies the channels of lanes. */
static void
notify(const int64 *lanes, int n)
{
	MemoryContext context = CurrentMemoryContext;
	int i;

	mj_worker_begin(context, false);
	(void) set_config_option("lock_timeout", MJ_NOTIFY_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	for (i = 0; i < n; i++)
		Async_Notify(psprintf(MJ_CHANNEL_PREFIX INT64_FORMAT, -lanes[i]), "");
	mj_worker_commit(context);
}

/*
 * The same; false when it could not be done, which is logged unless it was the
 * same the last time.
 */
static bool
try_notify(const int64 *lanes, int n)
{
	static bool failed = false;
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		notify(lanes, n);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (!failed)
			EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	failed = !done;
	return done;
}

/*
 * Tell the workers of what a tick found, once it is committed.  What cannot be
 * told now is news at the next tick again.
 */
void
mj_announcement_make(const MjAnnouncement *found)
{
	int64 *lanes = palloc(Max(found->nruns, 1) * sizeof(int64));
	int n = lanes_with_news(found, lanes);

	if (n == 0 || try_notify(lanes, n))
		remember(found);
}
