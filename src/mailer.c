/*-------------------------------------------------------------------------
 *
 * mailer.c
 *	  The mailer: takes due mails from the queue, sends them, records what
 *	  became of them.
 *
 * A batch goes through three steps: claim (a transaction, durable), send (no
 * transaction in the mail executor; one without snapshot, xid or lock in
 * jobs.deliver_mail(), which cannot do without), record (a transaction,
 * durable).  Whoever dies after the first leaves runs of a dead worker, which
 * the scheduler puts back.
 *
 * What counts as an attempt is a mail that was offered to the server.  When
 * none could be, because of the settings, the network or the login, all go
 * back as they were, for later.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "fault.h"
#include "guc.h"
#include "mail_content.h"
#include "mail_end_store.h"
#include "mail_record.h"
#include "mail_session.h"
#include "mail_store.h"
#include "mail_flow.h"
#include "mailer.h"
#include "queue_store.h"
#include "smtp_verdict.h"
#include "worker.h"
#include "xact.h"

/* Outcomes are recorded when so many wait for it, or the first so long. */
#define RECORD_MAILS 20
#define RECORD_MS 1000

/* So many mails lost in a row say something about the server, not the mails. */
#define MAX_LOSSES 2

/* deliver_mail() looks again at mails of other processes after so long. */
#define MIN_PAUSE_MS 50
#define MAX_PAUSE_MS 1000
/* It gives up when nothing happened for so many times smtp_timeout. */
#define PATIENCE 4

typedef enum MailStage
{
	MAIL_CLAIMED,
	MAIL_TRIED, /* its end tells what became of it */
	MAIL_RECORDED
} MailStage;

/* A mail in a batch. */
typedef struct MailItem
{
	MjMailEnd end;
	MjMailContent *content; /* NULL: problem says why */
	MjProblem problem;
	MailStage stage;
	bool repeated; /* on a new connection, the old one was dead */
} MailItem;

typedef struct MailBatch
{
	int64 worker_id;
	bool in_spi;				/* in jobs.deliver_mail(), not an executor */
	MemoryContext context;		/* all of it */
	MemoryContext mail_context; /* the mail at hand */
	MjMailSession session;
	int max_mails;
	int count; /* that were claimed; -1: somebody holds that up */
	MailItem *items;
	int unrecorded; /* tried, not recorded */
	instr_time unrecorded_since;
	int losses;			   /* in a row */
	MjMailTrouble trouble; /* why the rest was not offered */
	bool interrupted;	   /* the rest was not offered for that */
} MailBatch;

/* Mails that this process claimed and has not recorded. */
static int outstanding = 0;

/* ------------------------------------------------------------------------
 * Transactions
 * ------------------------------------------------------------------------
 */

/*
 * Begin a transaction that commits durably: in SPI there is always one, new
 * and unused, which only has to be what ours are, whatever the session's
 * defaults.  Keeps the memory context.
 */
static void
begin_work(bool in_spi)
{
	if (!in_spi)
	{
		mj_worker_begin(CurrentMemoryContext, true);
		return;
	}
	Assert(!FirstSnapshotSet);
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	ForceSyncCommit();
}

/* The end of begin_work().  Keeps the memory context. */
static void
commit_work(bool in_spi)
{
	if (in_spi)
		SPI_commit();
	else
		mj_worker_commit(CurrentMemoryContext);
}

/* ------------------------------------------------------------------------
 * Settings
 * ------------------------------------------------------------------------
 */

/* Addresses in the settings are checked before they can spoil a mail. */
static bool
check_defaults(MjMailTrouble *trouble)
{
	MjProblem problem;

	if (mj_mail_check_defaults(&problem))
		return true;
	trouble->sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
	trouble->problem = problem;
	return false;
}

/*
 * Check what can be checked of the settings without connecting; false with
 * the trouble.  Needs a transaction.
 */
bool
mj_mailer_check_settings(MjMailTrouble *trouble)
{
	return mj_session_check_settings(trouble) && check_defaults(trouble);
}

/* ------------------------------------------------------------------------
 * Claiming
 * ------------------------------------------------------------------------
 */

static int
compare_runs(const void *a, const void *b)
{
	const MjRun *left = a;
	const MjRun *right = b;

	if (left->priority != right->priority)
		return left->priority < right->priority ? -1 : 1;
	return left->run_id < right->run_id ? -1 : left->run_id > right->run_id;
}

/* Make the content of a mail whose bodies were read.  In a transaction. */
static void
prepare_item(MailItem *item)
{
	memset(&item->problem, 0, sizeof(MjProblem));
	item->content = NULL;
	if (item->end.mail->mail_id == 0)
		snprintf(item->problem.message, sizeof(item->problem.message),
				 "the mail of run %lld is gone",
				 (long long) item->end.run.run_id);
	else
		item->content = mj_mail_content(item->end.mail, item->end.run.due_at,
										true, &item->problem);
}

/* Read the mails of the runs that were claimed, and end what is not to be sent. */
static void
load_items(MailBatch *batch, MjRun *runs)
{
	int64 *run_ids = palloc(batch->count * sizeof(int64));
	MjMail *mails = palloc(batch->count * sizeof(MjMail));
	int i;

	for (i = 0; i < batch->count; i++)
		run_ids[i] = runs[i].run_id;
	mj_mail_load(run_ids, batch->count, mails);
	batch->count = mj_mail_screen(batch->worker_id, runs, mails, batch->count);
	batch->items = palloc0(batch->count * sizeof(MailItem));
	for (i = 0; i < batch->count; i++)
	{
		batch->items[i].end.run = runs[i];
		batch->items[i].end.mail = &mails[i];
		if (!mails[i].bodies_missing)
			prepare_item(&batch->items[i]);
	}
}

/* Claim due mails, at most so many, and read them.  False if there are none. */
static bool
claim_mails(MailBatch *batch, int max_mails)
{
	MjRun *runs = palloc(max_mails * sizeof(MjRun));

	batch->count =
		mj_queue_claim_mails(batch->worker_id, mj_clock_now(), max_mails, runs);
	if (batch->count == 0)
		return false;
	qsort(runs, batch->count, sizeof(MjRun), compare_runs);
	load_items(batch, runs);
	return true;
}

/*
 * Claim up to max_mails due mails, as far as the transport permits.  Those that
 * are ended as they are claimed do not count.  In a transaction.
 */
static void
claim_batch(void *arg)
{
	MailBatch *batch = arg;
	TimestampTz now = mj_clock_now();
	MjFlowPermit permit;

	mj_flow_ask(batch->max_mails, 1, batch->in_spi, now, &permit);
	(void) mj_mail_expire(now);
	batch->count = 0;
	while (permit.mails > 0 && claim_mails(batch, permit.mails) &&
		   batch->count == 0)
		;
	if (batch->count == 0)
		return;
	if (permit.is_trial)
		mj_flow_begin_trial(now);
	check_defaults(&batch->trouble);
}

/* The transaction of a claim; false when somebody holds the executor up. */
static bool
try_claim(MailBatch *batch)
{
	if (batch->in_spi)
	{
		begin_work(true);
		claim_batch(batch);
		commit_work(true);
	}
	else if (!mj_worker_do_bounded(batch->context, true, MJ_HELD_UP_CLAIM,
								   claim_batch, batch))
		return false;
	outstanding += batch->count;
	if (batch->count > 0)
		MJ_FAULT("mailer-claimed");
	return true;
}

/* ------------------------------------------------------------------------
 * Recording
 * ------------------------------------------------------------------------
 */

/*
 * Record all outcomes so far; final: also put back what was not offered.
 * Interrupts are held off: a mail that was accepted must not be sent again
 * because its sender was cancelled meanwhile.
 */
static void
record_batch(MailBatch *batch, bool final)
{
	MjMailEnd **ends;
	int recorded = 0;
	int i;

	MJ_FAULT("mailer-before-record");
	HOLD_INTERRUPTS();
	begin_work(batch->in_spi);
	ends = palloc(batch->count * sizeof(MjMailEnd *));
	for (i = 0; i < batch->count; i++)
	{
		MailItem *item = &batch->items[i];

		if (item->stage == MAIL_RECORDED ||
			(item->stage == MAIL_CLAIMED && !final))
			continue;
		item->end.offered = item->stage == MAIL_TRIED;
		item->stage = MAIL_RECORDED;
		ends[recorded++] = &item->end;
	}
	mj_mail_record(ends, recorded, &batch->trouble);
	pfree(ends);
	commit_work(batch->in_spi);
	outstanding -= recorded;
	batch->unrecorded = 0;
	RESUME_INTERRUPTS();
	MJ_FAULT("mailer-recorded");
}

/* Has enough been sent, or long enough ago, to record it? */
static bool
record_is_due(const MailBatch *batch)
{
	instr_time elapsed;

	if (batch->unrecorded == 0)
		return false;
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, batch->unrecorded_since);
	return batch->unrecorded >= RECORD_MAILS ||
		INSTR_TIME_GET_MILLISEC(elapsed) >= RECORD_MS;
}

/* ------------------------------------------------------------------------
 * Sending
 * ------------------------------------------------------------------------
 */

/* A result that says that this mail can never be sent. */
static void
refuse_item(MailItem *item, const MjProblem *problem)
{
	memset(&item->end.result, 0, sizeof(MjSmtpResult));
	item->end.result.outcome = MJ_SMTP_PERMANENT;
	item->end.result.error = MJ_SMTP_ERR_CONFIG;
	item->end.result.recipient = -1;
	strlcpy(item->end.result.message, problem->message,
			sizeof(item->end.result.message));
	strlcpy(item->end.result.detail, problem->detail,
			sizeof(item->end.result.detail));
}

/*
 * Read the bodies of a long mail, right before it is sent, into the memory of
 * the mail at hand.  No interrupts: they are for when outcomes are recorded.
 */
static void
load_long_item(MailBatch *batch, MailItem *item)
{
	HOLD_INTERRUPTS();
	begin_work(batch->in_spi);
	if (!mj_mail_load_bodies(item->end.mail))
		item->end.mail->mail_id = 0;
	prepare_item(item);
	commit_work(batch->in_spi);
	item->end.mail->bodies_missing = true; /* again, if it is repeated */
	RESUME_INTERRUPTS();
}

/* Send one mail; what became of it is in item->end.result. */
static void
send_item(MailBatch *batch, MailItem *item)
{
	MemoryContext old;
	MjMailDraft draft;
	MjProblem problem;

	MemoryContextReset(batch->mail_context);
	old = MemoryContextSwitchTo(batch->mail_context);
	if (item->end.mail->bodies_missing)
		load_long_item(batch, item);
	if (item->content == NULL)
		refuse_item(item, &item->problem);
	else if (!mj_mail_draft(item->content, &draft, &problem))
		refuse_item(item, &problem);
	else
		mj_session_send(&batch->session, &draft, item->end.mail->message_id,
						&item->end.result);
	MemoryContextSwitchTo(old);
}

/* Note what became of a mail, for the record and for the next ones. */
static void
note_result(MailBatch *batch, MailItem *item)
{
	MjSmtpOutcome outcome = item->end.result.outcome;

	item->stage = MAIL_TRIED;
	item->end.ended_at = mj_clock_now();
	if (batch->unrecorded++ == 0)
		INSTR_TIME_SET_CURRENT(batch->unrecorded_since);
	if (outcome != MJ_SMTP_LOST && outcome != MJ_SMTP_UNCERTAIN)
		batch->losses = 0;
	else if (++batch->losses >= MAX_LOSSES)
	{
		mj_trouble_from_result(&item->end.result, &batch->trouble);
		strlcpy(batch->trouble.problem.detail,
				"It was so for several mails, and the others were not tried.",
				sizeof(batch->trouble.problem.detail));
	}
}

/* Have a session that takes a mail; false: trouble, or interrupted. */
static bool
have_session(MailBatch *batch)
{
	if (mj_session_is_open(&batch->session))
		return true;
	if (mj_session_open(&batch->session, &batch->trouble))
		return true;
	if (batch->trouble.sqlstate == ERRCODE_QUERY_CANCELED)
	{
		batch->trouble.sqlstate = 0;
		batch->interrupted = true;
	}
	return false;
}

/* Try one mail, on a second connection if the first one was dead. */
static void
try_item(MailBatch *batch, MailItem *item)
{
	while (have_session(batch))
	{
		item->end.begun_at = mj_clock_now();
		send_item(batch, item);
		if (item->end.result.outcome == MJ_SMTP_INTERRUPTED)
			batch->interrupted = true;
		else if (item->end.result.stale && !item->repeated)
		{
			item->repeated = true;
			mj_session_close(&batch->session);
			continue;
		}
		else if (mj_smtp_verdict(&item->end.result) == MJ_VERDICT_HOPELESS)
			mj_trouble_from_result(&item->end.result, &batch->trouble);
		else
			note_result(batch, item);
		return;
	}
}

/* Send the batch, as far as it goes. */
static void
send_batch(MailBatch *batch)
{
	int i;

	Assert(batch->in_spi || !IsTransactionState());
	Assert(!ActiveSnapshotSet());
	for (i = 0; i < batch->count && batch->trouble.sqlstate == 0; i++)
	{
		if (mj_session_must_stop(&batch->session))
			batch->interrupted = true;
		if (batch->interrupted)
			return;
		try_item(batch, &batch->items[i]);
		MJ_FAULT("mailer-sent");
		if (record_is_due(batch))
			record_batch(batch, false);
	}
}

/* ------------------------------------------------------------------------
 * Batches
 * ------------------------------------------------------------------------
 */

/* A batch in a memory context of its own. */
static MailBatch *
new_batch(int64 worker_id, bool in_spi)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs mail batch",
							  ALLOCSET_DEFAULT_SIZES);
	MailBatch *batch = MemoryContextAllocZero(context, sizeof(MailBatch));

	batch->context = context;
	batch->mail_context = AllocSetContextCreate(context, "motionify_jobs mail",
												ALLOCSET_DEFAULT_SIZES);
	batch->worker_id = worker_id;
	batch->in_spi = in_spi;
	batch->session.is_worker = !in_spi;
	return batch;
}

/* Claim, send and record up to max_mails mails. */
static void
process_batch(MailBatch *batch, int max_mails)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	batch->max_mails = max_mails;
	if (!try_claim(batch))
		batch->count = -1;
	if (batch->count > 0)
	{
		PG_TRY();
		{
			send_batch(batch);
			record_batch(batch, true);
			if (batch->trouble.sqlstate == 0 && !batch->interrupted)
				mj_session_quit(&batch->session);
		}
		PG_FINALLY();
		{
			mj_session_close(&batch->session);
		}
		PG_END_TRY();
	}
	MemoryContextSwitchTo(old);
}

/* Begin with what an earlier batch could not end. */
static void
recover_leftovers(MailBatch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	begin_work(batch->in_spi);
	mj_mailer_put_back_leftovers(batch->worker_id);
	commit_work(batch->in_spi);
	MemoryContextSwitchTo(old);
}

/*
 * Send what is due, at most max_mails mails; returns how many were claimed: 0
 * means that there is nothing to do, -1 that somebody has locked the tables.
 * For the mail executor, which has a slot with that worker_id and no
 * transaction open.  Returns early when the worker
 * must leave or was interrupted; whoever calls looks for that.  Trouble with
 * the server is logged, not raised.
 */
int
mj_mailer_run_batch(int64 worker_id, int max_mails)
{
	MailBatch *batch;
	int claimed;

	Assert(!IsTransactionState());
	batch = new_batch(worker_id, false);
	if (outstanding > 0)
		recover_leftovers(batch);
	process_batch(batch, Min(max_mails, MJ_MAILER_BATCH));
	claimed = batch->count;
	MemoryContextDelete(batch->context);
	return claimed;
}

/*
 * Put back mails that this process claimed and could not record, after an
 * error.  Nobody knows whether they were sent.  Returns how many.  Needs a
 * transaction.
 */
int
mj_mailer_put_back_leftovers(int64 worker_id)
{
	MjRun *runs;
	int nruns;
	int found = 0;
	int i;

	if (outstanding == 0)
		return 0;
	nruns = mj_queue_running(worker_id, &runs);
	for (i = 0; i < nruns; i++)
	{
		MjMailEnd end = { 0 };
		MjMailEnd *ends = &end;
		MjMail mail;

		if (runs[i].lane != MJ_LANE_MAIL)
			continue;
		mj_mail_load(&runs[i].run_id, 1, &mail);
		end.run = runs[i];
		end.mail = &mail;
		end.offered = true;
		end.begun_at = runs[i].started_at;
		end.ended_at = mj_clock_now();
		end.result.outcome = MJ_SMTP_UNCERTAIN;
		end.result.error = MJ_SMTP_ERR_LOST;
		strlcpy(end.result.message,
				"what became of the mail could not be recorded",
				sizeof(end.result.message));
		mj_mail_record(&ends, 1, NULL);
		found++;
	}
	outstanding = 0;
	return found;
}

/* ------------------------------------------------------------------------
 * jobs.deliver_mail()
 * ------------------------------------------------------------------------
 */

/* What one call has to see through. */
typedef struct Delivery
{
	int64 worker_id;
	int ndue;
	MjDueMail *due;
	int left; /* mails that it may still claim */
	MjMailProgress progress;
} Delivery;

static void
raise_trouble(const MjMailTrouble *trouble)
{
	const MjProblem *problem = &trouble->problem;

	ereport(ERROR,
			(errcode(trouble->sqlstate), errmsg("%s", problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}

/* Send what can be claimed.  Raises what kept it from doing so. */
static void
deliver_claimable(Delivery *delivery)
{
	int claimed = 1;

	while (claimed > 0 && delivery->left > 0)
	{
		MailBatch *batch = new_batch(delivery->worker_id, true);

		process_batch(batch, Min(delivery->left, MJ_MAILER_BATCH));
		CHECK_FOR_INTERRUPTS();
		if (batch->trouble.sqlstate != 0)
			raise_trouble(&batch->trouble);
		claimed = batch->count;
		delivery->left -= claimed;
		MemoryContextDelete(batch->context);
	}
}

/*
 * Find what is due.  Mail that waits because none could be sent is tried now:
 * whoever calls may have repaired it, and must hear if not.
 */
static void
find_due(Delivery *delivery)
{
	TimestampTz now = mj_clock_now();

	begin_work(true);
	mj_mailer_put_back_leftovers(delivery->worker_id);
	delivery->ndue = mj_mail_due(now, delivery->left, delivery->due);
	mj_mail_hasten(delivery->due, delivery->ndue, now);
	commit_work(true);
}

/* Look where it stands. */
static void
look_at_progress(Delivery *delivery)
{
	begin_work(true);
	mj_mail_progress(delivery->due, delivery->ndue, mj_clock_now(),
					 &delivery->progress);
	commit_work(true);
}

static bool
is_done(const Delivery *delivery)
{
	return delivery->progress.in_flight == 0 &&
		(delivery->progress.claimable == 0 || delivery->left == 0);
}

/* Sleep, or until interrupted. */
static void
pause_delivery(long pause_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 pause_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Send, and wait for what others send, until all that was due is through. */
static void
see_through(Delivery *delivery)
{
	long patience_ms = PATIENCE * mj_smtp_timeout_s * 1000L;
	long waited_ms = 0;
	long pause_ms = MIN_PAUSE_MS;
	int64 in_flight = -1;

	for (;;)
	{
		deliver_claimable(delivery);
		look_at_progress(delivery);
		if (is_done(delivery))
			return;
		if (delivery->progress.in_flight != in_flight)
			waited_ms = 0;
		in_flight = delivery->progress.in_flight;
		if (waited_ms >= patience_ms)
			break;
		pause_delivery(pause_ms);
		waited_ms += pause_ms;
		pause_ms = Min(pause_ms * 2, MAX_PAUSE_MS);
	}
	ereport(WARNING,
			(errmsg("%lld mails are still being sent by other processes",
					(long long) in_flight)));
}

/* Only see whether mail can be sent.  Raises what is in the way. */
static void
try_session(void)
{
	MjMailTrouble trouble;

	mj_mailer_try(&trouble);
	CHECK_FOR_INTERRUPTS();
	if (trouble.sqlstate != 0)
		raise_trouble(&trouble);
}

/*
 * Send what is due, at most max_mails mails, and wait for those of them that
 * other processes are sending; returns how many of them the server accepted.
 * For jobs.deliver_mail(), which is connected to SPI, non-atomically, and has
 * a slot with that worker_id.  Commits what the caller did so far.  Raises
 * what kept mail from being sent at all, 08xxx for the server's part; the
 * mails are then back in the queue, committed.  With max_mails 0 it connects,
 * and raises the same if mail could not be sent.
 */
int64
mj_mailer_deliver(int64 worker_id, int max_mails)
{
	Delivery delivery = { 0 };

	delivery.worker_id = worker_id;
	delivery.left = max_mails;
	delivery.due = palloc(max_mails * sizeof(MjDueMail));
	SPI_commit();
	if (max_mails == 0)
	{
		try_session();
		return 0;
	}
	find_due(&delivery);
	if (delivery.ndue == 0)
		return 0;
	see_through(&delivery);
	return delivery.progress.sent;
}
