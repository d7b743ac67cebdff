/*-------------------------------------------------------------------------
 *
 * caller.c
 *	  The caller: takes HTTP runs from the queue, has them made, records what
 *	  became of them.
 *
 * As the mailer does, three steps, over and over: claim (a transaction, durable),
 * call (no transaction), record (a transaction, durable).  The network goes on
 * over all of them: more is claimed while calls are under way, and what has ended
 * is recorded while others have not.  Whoever dies after the first leaves runs of
 * a dead worker, which the scheduler puts back; their servers are called again,
 * with the same Idempotency-Key.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_record.h"
#include "caller.h"
#include "clock.h"
#include "fault.h"
#include "guc.h"
#include "ping.h"
#include "runlog.h"
#include "schedule.h"
#include "store.h"
#include "worker.h"
#include "xact.h"

/* Ends are recorded when so many wait for it, or the first so long. */
#define RECORD_CALLS 120
#define RECORD_MS 50

/* So many calls are claimed ahead for each that may be under way. */
#define AHEAD 2

/* Runs that are claimed in one go at most. */
#define MAX_CLAIM 250

/*
 * Bytes that the runs in hand may have before no more are claimed, and those of one
 * claim before the rest of it goes back.
 */
#define MAX_BYTES (64 * 1024 * 1024)

/* Runs after which this process is replaced by a new one. */
#define MAX_RUNS 100000

/* A record that somebody held up is tried again so much later. */
#define RECORD_AGAIN_US (250 * INT64CONST(1000))

/* A claim that somebody held up is tried again so much later. */
#define CLAIM_AGAIN_US USECS_PER_SEC

/* A turn takes no longer. */
#define MAX_TURN_MS 1000L

/* What this process has in hand. */
static struct
{
	MemoryContext context; /* of all claims */
	MjHttpTransport *transport;
	dlist_head errands; /* that are not recorded */
	int nended;			/* of these, that have ended */
	dlist_head ended;	/* their parcels */
	instr_time ended_since;
	TimestampTz
		record_at;	/* not before, for somebody has locked the tables; real
							* time; 0: nobody has */
	bool recording; /* or an error came out of that */
	int64 worker_id;
	int claimed; /* in this call */
	bool more;	 /* the queue may have some */
	bool alone;	 /* at hand is one that was in hand in crashes */
	bool held_up;
	TimestampTz again_at; /* if so: when to try again; real time */
} caller;

/* Runs that were claimed in one go, with the memory that they share. */
typedef struct Claim
{
	MemoryContext context; /* in which this is, too */
	int most;
	bool full; /* there may be more */
	int n;
	MjErrand *errands;
	int left; /* not recorded */
} Claim;

/* ------------------------------------------------------------------------
 * Claiming
 * ------------------------------------------------------------------------
 */

/* How much time a run has, in ms; 0: as the setting says. */
static int
timeout_ms(const MjJob *job)
{
	double ms;

	if (job->timeout == NULL)
		return 0;
	ms = mj_interval_usecs(job->timeout) / 1000.0;
	return (int) Min(Max(ms, 1.0), (double) INT_MAX);
}

/* The request of a run of a job. */
static void
draft_job(MjErrand *errand, const char *instance_id)
{
	const MjJob *job = &errand->work.job;
	MjHttpTarget target = { 0 };

	target.name = job->name;
	target.url = job->url;
	target.method = job->method;
	target.headers = job->headers;
	target.body = mj_http_args_text(&errand->work.run);
	target.too_long = target.body == NULL;
	target.content_type = "application/json";
	target.timeout_ms = timeout_ms(job);
	errand->sqlstate = mj_http_draft(&target, &errand->work.run, instance_id,
									 &errand->draft, &errand->problem);
}

/* The request of a call. */
static void
draft_call(MjErrand *errand, const char *instance_id)
{
	const MjCall *call = &errand->call;
	MjHttpTarget target = { 0 };

	target.url = call->url;
	target.method = call->method;
	target.headers = call->headers;
	target.body = call->body;
	target.content_type = strcmp(call->purpose, MJ_CALL_ALERT) == 0 ?
		"application/json" :
		"text/plain; charset=utf-8";
	target.by_setting = call->by_setting;
	errand->sqlstate = mj_http_draft(&target, &errand->work.run, instance_id,
									 &errand->draft, &errand->problem);
}

/* What bears on the end of a call, as if it were a job. */
static void
set_call_job(MjErrand *errand)
{
	MjJob *job = &errand->work.job;
	Interval *delay = palloc0(sizeof(Interval));

	memset(job, 0, sizeof(MjJob));
	delay->time = errand->call.retry_delay_s * USECS_PER_SEC;
	job->job_id = MJ_CALL_JOB_ID;
	job->name = MJ_CALL_JOB_NAME;
	job->role = errand->call.role;
	job->overlap = "skip";
	job->catch_up = "once";
	job->max_attempts = errand->call.max_attempts;
	job->backoff = "exponential";
	job->backoff_base = delay;
	job->http = true;
	mj_runlog_call_owner(&errand->call, &errand->work.owner);
}

/* Take a claimed call, which may be gone; false then. */
static bool
take_call(MjErrand *errand)
{
	const MjRun *run = &errand->work.run;

	mj_call_load(&run->run_id, 1, &errand->call);
	if (errand->call.run_id == 0)
		(void) mj_queue_delete(run->run_id, run->worker_id);
	else
		set_call_job(errand);
	return errand->call.run_id != 0;
}

/* Have an errand in hand: in the transport, or ended if it cannot be sent. */
static void
admit(MjErrand *errand)
{
	errand->parcel.draft = &errand->draft;
	/* made ahead of its time; more than that, before the clock was set back */
	if (errand->work.run.run_at <= mj_clock_now() + MJ_AHEAD_US)
		errand->parcel.not_before = errand->work.run.run_at;
	dlist_push_tail(&caller.errands, &errand->node);
	mj_http_transport_put(caller.transport, &errand->parcel);
	if (errand->sqlstate != 0)
		mj_http_transport_abort(caller.transport, &errand->parcel);
}

/* Make an errand of a claimed run, whose job may be found; false: it is none. */
static bool
make_errand(MjErrand *errand, const MjRun *run, const MjJob *job, bool found,
			const char *instance_id)
{
	errand->place = -1;
	errand->work.run = *run;
	errand->is_call = run->job_id == MJ_CALL_JOB_ID;
	if (errand->is_call)
	{
		if (!take_call(errand))
			return false;
		draft_call(errand, instance_id);
		return true;
	}
	errand->work.job = *job;
	if (!mj_batch_is_in_place(&errand->work, found))
		return false;
	draft_job(errand, instance_id);
	mj_ping_started(&errand->work.job);
	return true;
}

/* Tell the others which runs are in hand here. */
static void
publish(Claim *claim)
{
	int64 *run_ids = palloc(claim->n * sizeof(int64));
	int *places = palloc(claim->n * sizeof(int));
	int i;

	for (i = 0; i < claim->n; i++)
		run_ids[i] = claim->errands[i].work.run.run_id;
	mj_flights_begin(run_ids, claim->n, places);
	for (i = 0; i < claim->n; i++)
		claim->errands[i].place = places[i];
}

/* Give runs back that were claimed and are not to be had now. */
static void
give_back(Claim *claim, const MjRun *runs, int n)
{
	int i;

	for (i = 0; i < n; i++)
	{
		(void) mj_queue_unclaim(&runs[i], runs[i].lane, 0);
		if (!runs[i].args_isnull)
			pfree(DatumGetPointer(runs[i].args));
	}
	claim->full |= n > 0;
}

/*
 * Make errands of runs that were claimed, in the transaction of the claim, as long as
 * they do not take too much memory: the arguments of a few may be as long as those of
 * all others.
 */
static void
make_errands(Claim *claim, const MjRun *runs, int n)
{
	MjJob *jobs = palloc(n * sizeof(MjJob));
	bool *found = palloc(n * sizeof(bool));
	char *instance_id = mj_instance_id();
	int i;

	mj_job_to_execute(runs, n, jobs, found);
	claim->errands = palloc0(n * sizeof(MjErrand));
	for (i = 0; i < n; i++)
	{
		MjErrand *errand = &claim->errands[claim->n];

		if (i > 0 &&
			MemoryContextMemAllocated(claim->context, false) > MAX_BYTES)
			break;
		if (make_errand(errand, &runs[i], &jobs[i], found[i], instance_id))
			claim->n++;
		else
			memset(errand, 0, sizeof(MjErrand));
	}
	give_back(claim, runs + i, n - i);
	pfree(jobs);
	pfree(found);
}

/* Claim some more, in a transaction. */
static void
claim_some(void *arg)
{
	Claim *claim = arg;
	bool has_none = dlist_is_empty(&caller.errands);
	MjRun *runs;
	int n;

	if (!mj_store_installed() || !mj_instance_is_own())
		return;
	if (!has_none &&
		!mj_store_try_lock()) /* to wait would hold up the network */
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("tables of schema jobs are locked")));
	n = mj_queue_claim_many(MJ_LANE_HTTP, caller.worker_id, mj_clock_now(),
							claim->most, MJ_MAX_CRASHES - 1, has_none, &runs,
							&claim->full);
	if (n == 0)
		return;
	caller.alone = runs[0].crashes >= MJ_MAX_CRASHES - 1;
	make_errands(claim, runs, n);
	if (claim->n > 0)
		publish(claim);
	MJ_FAULT("caller-claim-written");
}

/* The slot says what it must before a look at the queue: see executor.c. */
static void
say_before_look(void)
{
	bool busy = !dlist_is_empty(&caller.errands);

	if (!busy)
		mj_slot_set_state(MJ_SLOT_IDLE);
	mj_lock();
	mj_my_slot->listens = busy;
	mj_unlock();
}

/* Has somebody woken this executor since it has looked? */
static bool
was_woken(void)
{
	return dlist_is_empty(&caller.errands) ? mj_my_slot->state != MJ_SLOT_IDLE :
											 !mj_my_slot->listens;
}

/* Some were claimed: this executor is at work, but listens for more. */
static void
say_busy(void)
{
	mj_lock();
	if (mj_my_slot->state == MJ_SLOT_IDLE)
	{
		mj_my_slot->state = MJ_SLOT_BUSY;
		mj_my_slot->listens = true;
	}
	else
		mj_my_slot->listens = false; /* it was woken meanwhile */
	mj_unlock();
}

/*
 * This process has served for long enough: the lane gets another one, while what is
 * in hand here comes to its end.
 */
static void
retire(void)
{
	mj_lock();
	mj_my_slot->yield = true;
	mj_unlock();
	mj_wake_database(MyDatabaseId, 0);
}

/* What was claimed is in hand. */
static void
admit_all(Claim *claim)
{
	bool had_none = dlist_is_empty(&caller.errands);
	int i;

	claim->left = claim->n;
	for (i = 0; i < claim->n; i++)
	{
		MjErrand *errand = &claim->errands[i];

		errand->claim = claim;
		admit(errand);
		if (!errand->is_call)
			mj_runlog_started(&errand->work.run, &errand->work.owner);
	}
	caller.claimed += claim->n;
	if (caller.claimed >= (MJ_FAULT_IS_SET("caller-ages") ? 10 : MAX_RUNS))
		retire();
	if (had_none)
		say_busy();
}

/* The claim was undone: so is what was said of it. */
static void
take_back(const Claim *claim)
{
	int i;

	for (i = 0; i < claim->n; i++)
		mj_flights_end(&claim->errands[i].place, 1);
}

/* Claim some more. */
static void
claim_more(int most)
{
	MemoryContext context =
		AllocSetContextCreate(caller.context, "motionify_jobs HTTP claim",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Claim *claim = palloc0(sizeof(Claim));

	claim->context = context;
	claim->most = most;
	say_before_look();
	caller.held_up = !mj_worker_do_bounded(context, true, MJ_HELD_UP_CLAIM,
										   claim_some, claim);
	MemoryContextSwitchTo(old);
	caller.more = !caller.held_up && claim->full;
	if (caller.held_up)
	{
		caller.again_at = mj_clock_real() + CLAIM_AGAIN_US;
		take_back(claim);
	}
	else if (claim->n > 0)
		admit_all(claim);
	if (caller.held_up || claim->n == 0)
		MemoryContextDelete(context);
	MJ_FAULT("caller-claimed");
}

/* May it be tried to claim? */
static bool
may_claim(int in_hand)
{
	if (mj_worker_must_leave() || (caller.alone && in_hand > 0) ||
		caller.record_at != 0)
		return false;
	if (caller.held_up) /* whoever calls waits, if nothing is in hand */
		return in_hand > 0 && mj_clock_real() >= caller.again_at;
	if (!caller.more && !was_woken())
		return false;
	return in_hand == 0 ||
		MemoryContextMemAllocated(caller.context, true) < MAX_BYTES;
}

/* How many runs to claim now; 0: none. */
static int
claim_size(void)
{
	int in_hand = mj_http_transport_in_hand(caller.transport);
	int most = mj_http_max_connections * (1 + AHEAD) - in_hand;

	if (!may_claim(in_hand) ||
		mj_http_transport_waiting(caller.transport) > mj_http_max_connections)
		return 0;
	return Min(Min(most, MAX_CLAIM), Max(mj_flights_room(), 1));
}

/* ------------------------------------------------------------------------
 * Recording
 * ------------------------------------------------------------------------
 */

/* An errand is recorded: forget it. */
static void
forget(MjErrand *errand)
{
	Claim *claim = errand->claim;

	dlist_delete(&errand->node);
	mj_http_free_response(&errand->parcel.response);
	/* what may be large does not stay until the last of its claim has ended */
	if (!errand->work.run.args_isnull)
		pfree(DatumGetPointer(errand->work.run.args));
	if (errand->draft.request.body != NULL)
		pfree(unconstify(char *, errand->draft.request.body));
	if (--claim->left == 0)
		MemoryContextDelete(claim->context);
}

/* The first that have ended, as many as are recorded in one go; returns how many. */
static int
first_ended(MjErrand **errands)
{
	dlist_iter iter;
	int n = 0;

	dlist_foreach (iter, &caller.ended)
	{
		if (n == RECORD_CALLS)
			break;
		errands[n++] =
			(MjErrand *) dlist_container(MjHttpParcel, node, iter.cur);
	}
	return n;
}

/* Some that had ended are recorded: forget them. */
static void
forget_ended(MjErrand **errands, int n)
{
	int places[RECORD_CALLS];
	int i;

	for (i = 0; i < n; i++)
		places[i] = errands[i]->place;
	mj_flights_end(places, n);
	for (i = 0; i < n; i++)
	{
		dlist_delete(&errands[i]->parcel.node);
		forget(errands[i]);
	}
	caller.nended -= n;
}

/*
 * Record some of what has ended; false when somebody has locked the tables.
 * Interrupts are held off: a server that has done its work must not be called again
 * because its caller was told to end meanwhile.
 */
static bool
record_ended(void)
{
	MjErrand *errands[RECORD_CALLS];
	int n = first_ended(errands);
	MemoryContext old;
	MemoryContext context;

	MJ_FAULT("caller-before-record");
	HOLD_INTERRUPTS();
	context =
		AllocSetContextCreate(caller.context, "motionify_jobs HTTP record",
							  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	caller.record_at = 0;
	if (mj_store_begin_record(context, false))
	{
		caller.recording = true;
		mj_call_record(errands, n);
		caller.recording = false;
		forget_ended(errands, n);
	}
	else
		caller.record_at = mj_clock_real() + RECORD_AGAIN_US;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	RESUME_INTERRUPTS();
	MJ_FAULT("caller-recorded");
	return caller.record_at == 0;
}

/* For how many ms may the record still wait? */
static long
record_wait(void)
{
	instr_time elapsed;

	if (caller.record_at != 0)
		return TimestampDifferenceMilliseconds(mj_clock_real(),
											   caller.record_at);
	if (caller.nended >= RECORD_CALLS ||
		mj_http_transport_in_hand(caller.transport) == 0)
		return 0;
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, caller.ended_since);
	return Max(RECORD_MS - (long) INSTR_TIME_GET_MILLISEC(elapsed), 0);
}

/* Take what has come out. */
static void
take_ended(void)
{
	MjHttpParcel *parcel;

	while ((parcel = mj_http_transport_take(caller.transport)) != NULL)
	{
		if (caller.nended++ == 0)
			INSTR_TIME_SET_CURRENT(caller.ended_since);
		dlist_push_tail(&caller.ended, &parcel->node);
	}
}

/* Record what has ended, if it is time; or all.  What cannot be now stays. */
static void
record_due(bool all)
{
	take_ended();
	while (caller.nended > 0 && (all || record_wait() == 0) && record_ended())
		;
}

/* ------------------------------------------------------------------------
 * Calling
 * ------------------------------------------------------------------------
 */

/* Give up what was cancelled, if it has not ended. */
static void
give_up(const MjCancelledFlight *cancelled)
{
	dlist_iter iter;

	dlist_foreach (iter, &caller.errands)
	{
		MjErrand *errand = dlist_container(MjErrand, node, iter.cur);

		if (errand->work.run.run_id != cancelled->flight.run_id ||
			errand->parcel.ended_at != 0)
			continue;
		errand->cancelled = true;
		memcpy(errand->reason, cancelled->reason, MJ_REASON_SIZE);
		mj_http_transport_abort(caller.transport, &errand->parcel);
		return;
	}
}

/* Look for what was cancelled. */
static void
heed_cancels(void)
{
	static MjCancelledFlight cancelled[MJ_MAX_CANCELLED_FLIGHTS];
	int n;
	int i;

	if (!mj_my_slot->has_cancelled)
		return;
	n = mj_flights_take_cancelled(cancelled);
	for (i = 0; i < n; i++)
		give_up(&cancelled[i]);
}

/*
 * Begin nothing more if that is of no use: who is told to end gives up all at
 * once, who is asked to leave lets what is under way come to its end.
 */
static void
heed_orders(void)
{
	/* other backends wait for these, and they do not stop anything */
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier();
	(void) mj_worker_reload();
	if (ProcDiePending)
		mj_http_transport_abort_all(caller.transport);
	else if (mj_worker_must_leave())
		mj_http_transport_return_waiting(caller.transport);
	heed_cancels();
}

/* Claim, call and record, until there is no more to do. */
static void
call_on(void)
{
	for (;;)
	{
		long timeout = MAX_TURN_MS;
		int size;

		heed_orders();
		record_due(ProcDiePending);
		if (ProcDiePending)
			return;
		size = claim_size();
		if (size > 0)
			claim_more(size);
		if (dlist_is_empty(&caller.errands) && claim_size() == 0)
			break;
		if (caller.nended > 0)
			timeout = Min(timeout, record_wait());
		Assert(!IsTransactionState());
		mj_http_transport_turn(caller.transport, timeout);
	}
}

/* Called once in this process. */
static void
init(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	caller.context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs caller",
							  ALLOCSET_DEFAULT_SIZES);
	caller.transport = mj_http_transport_new();
	dlist_init(&caller.errands);
	dlist_init(&caller.ended);
	MemoryContextSwitchTo(old);
}

/*
 * Make the calls that are ready, until there are no more; returns how many were
 * claimed: 0 means that there is nothing to do, -1 that somebody has locked the
 * tables.  For the HTTP executor, which has a slot with that worker_id and no
 * transaction open; the slot says idle when there is nothing more to claim.
 * Returns early when the worker must end; whoever calls looks for that.
 */
int
mj_caller_run(int64 worker_id)
{
	MemoryContext old;

	Assert(!IsTransactionState());
	if (caller.context == NULL)
		init();
	old = MemoryContextSwitchTo(caller.context);
	caller.worker_id = worker_id;
	caller.claimed = 0;
	caller.more = true;
	caller.held_up = false;
	call_on();
	MemoryContextSwitchTo(old);
	return caller.claimed == 0 && caller.held_up ? -1 : caller.claimed;
}

/* Has the call of a run of this process been begun, as far as it is known? */
bool
mj_caller_has_begun(int64 run_id)
{
	dlist_iter iter;

	if (caller.context == NULL)
		return false;
	dlist_foreach (iter, &caller.errands)
	{
		const MjErrand *errand = dlist_container(MjErrand, node, iter.cur);

		if (errand->work.run.run_id == run_id)
			return errand->parcel.begun;
	}
	return false;
}

/*
 * This process ends, whatever the reason: give up what is under way, and record all
 * that has ended; but not if it ends for an error that came out of the record.  Not
 * in a transaction.
 */
void
mj_caller_leave(void)
{
	MemoryContext old;

	if (caller.context == NULL || caller.recording)
		return;
	old = MemoryContextSwitchTo(caller.context);
	mj_http_transport_abort_all(caller.transport);
	record_due(true);
	MemoryContextSwitchTo(old);
}

/*
 * Nothing is at hand: close connections that have long been idle.  Returns when
 * that will be, in ms; -1: there are none.
 */
long
mj_caller_rest(void)
{
	return caller.context ? mj_http_transport_rest(caller.transport) : -1;
}
