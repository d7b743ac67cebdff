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
#include "history_store.h"
#include "job_store.h"
#include "mail_content.h"
#include "mail_session.h"
#include "mail_signer.h"
#include "mail_store.h"
#include "mailer.h"
#include "queue_store.h"
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
	MAIL_TRIED, /* result tells what became of it */
	MAIL_RECORDED
} MailStage;

/* A mail in a batch. */
typedef struct MailItem
{
	MjRun run;
	MjMail *mail;
	MjMailContent *content; /* NULL: problem says why */
	MjProblem problem;
	MailStage stage;
	bool repeated; /* on a new connection, the old one was dead */
	MjSmtpResult result;
	TimestampTz ended_at;
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
	int losses; /* in a row */
	int accepted;
	MjMailTrouble trouble; /* why the rest was not offered */
	bool interrupted;	   /* the rest was not offered for that */
} MailBatch;

/* Mails that this process claimed and has not recorded. */
static int outstanding = 0;

/* The executor said that mail is not being delivered. */
static bool trouble_logged = false;

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

/* Addresses and key in the settings are checked before they can spoil a mail. */
static bool
check_defaults(MjMailTrouble *trouble)
{
	MjProblem problem;

	if (mj_mail_check_defaults(&problem))
		return mj_mail_signer_check(trouble);
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
	if (item->mail->mail_id == 0)
		snprintf(item->problem.message, sizeof(item->problem.message),
				 "the mail of run %lld is gone", (long long) item->run.run_id);
	else
		item->content =
			mj_mail_content(item->mail, item->run.due_at, true, &item->problem);
}

/* Read the mails of the runs that were claimed. */
static void
load_items(MailBatch *batch, MjRun *runs)
{
	int64 *run_ids = palloc(batch->count * sizeof(int64));
	MjMail *mails = palloc(batch->count * sizeof(MjMail));
	int i;

	for (i = 0; i < batch->count; i++)
		run_ids[i] = runs[i].run_id;
	mj_mail_load(run_ids, batch->count, mails);
	batch->items = palloc0(batch->count * sizeof(MailItem));
	for (i = 0; i < batch->count; i++)
	{
		batch->items[i].run = runs[i];
		batch->items[i].mail = &mails[i];
		if (!mails[i].bodies_missing)
			prepare_item(&batch->items[i]);
	}
}

/* Claim up to max_mails due mails, and read them.  In a transaction. */
static void
claim_batch(void *arg)
{
	MailBatch *batch = arg;
	MjRun *runs = palloc(batch->max_mails * sizeof(MjRun));

	batch->count = mj_queue_claim_mails(batch->worker_id, mj_clock_now(),
										batch->max_mails, runs);
	if (batch->count == 0)
		return;
	qsort(runs, batch->count, sizeof(MjRun), compare_runs);
	load_items(batch, runs);
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

/* The code of the reply that decided; 0 if none did. */
static int
reply_code(const MjSmtpResult *result)
{
	if (result->outcome != MJ_SMTP_ACCEPTED &&
		result->error != MJ_SMTP_ERR_REFUSED)
		return 0;
	return result->reply.code;
}

/* What the server said, or why it said nothing. */
static char *
reply_text(const MjSmtpResult *result)
{
	if (reply_code(result) != 0)
		return psprintf("%d %s", result->reply.code, result->reply.text);
	if (result->outcome == MJ_SMTP_ACCEPTED)
		return pstrdup(result->reply.text);
	return mj_mail_words(result->message, result->detail);
}

/* The server log, as motionify_jobs.log_runs wants it. */
static void
log_outcome(const MailItem *item, const char *reply, bool final)
{
	bool accepted = item->result.outcome == MJ_SMTP_ACCEPTED;

	if (mj_log_runs < (accepted ? MJ_LOG_ALL : MJ_LOG_FAILURES))
		return;
	ereport(LOG,
			(errmsg("mail %lld %s: %s", (long long) item->mail->mail_id,
					accepted  ? "sent" :
						final ? "failed, given up" :
								"failed, will be tried again",
					reply),
			 errhidestmt(true), errhidecontext(true)));
}

static void
log_history(const MailItem *item, const char *reply)
{
	const MjSmtpResult *result = &item->result;
	MjRunOwner owner = { 0 };
	MjOutcome outcome = { 0 };

	owner.job = MJ_MAIL_JOB_NAME;
	owner.role = item->mail->role;
	owner.role_oid = item->mail->role_oid;
	outcome.rows_isnull = true;
	outcome.finished_at = item->ended_at;
	if (result->outcome == MJ_SMTP_ACCEPTED)
	{
		outcome.status = "succeeded";
		outcome.result = reply;
	}
	else
	{
		outcome.status =
			result->outcome == MJ_SMTP_UNCERTAIN ? "uncertain" : "failed";
		outcome.error = result->message;
		outcome.error_detail = result->detail[0] ? result->detail : NULL;
		outcome.sqlstate =
			pstrdup(unpack_sql_state(result->error == MJ_SMTP_ERR_REFUSED ?
										 ERRCODE_EXTERNAL_ROUTINE_EXCEPTION :
										 mj_sqlstate_from_result(result)));
	}
	mj_history_insert(&item->run, &owner, &outcome);
}

/* How the mail ended with this result, NULL if it is tried again. */
static const char *
ending(const MailItem *item)
{
	MjSmtpOutcome outcome = item->result.outcome;

	if (outcome == MJ_SMTP_ACCEPTED)
		return "sent";
	if (outcome != MJ_SMTP_PERMANENT &&
		item->run.failures + 1 < mj_mail_max_attempts)
		return NULL;
	return outcome == MJ_SMTP_UNCERTAIN ? "uncertain" : "failed";
}

static TimestampTz
retry_time(void)
{
	return mj_clock_now() + mj_mail_retry_delay_s * USECS_PER_SEC;
}

/* Take an ended run from the queue, or put it back for the next attempt. */
static bool
settle_run(MailItem *item, bool final)
{
	TimestampTz run_at;

	if (final)
		return mj_queue_delete(item->run.run_id, item->run.worker_id);
	run_at = retry_time();
	item->run.failures++;
	mj_xact_wake(run_at, MJ_LANE_NONE);
	return mj_queue_put_back(&item->run, run_at, false);
}

/* Record what became of a mail that was tried.  In a transaction. */
static void
record_item(MailItem *item)
{
	MjMailState state = { 0 };

	state.run_id = item->run.run_id;
	state.ended_as = ending(item);
	state.counted = true;
	state.smtp_code = reply_code(&item->result);
	state.smtp_reply = reply_text(&item->result);
	state.at = item->ended_at;
	if (!settle_run(item, state.ended_as != NULL))
	{
		ereport(
			LOG,
			(errmsg(
				"mail %lld was taken from this process while it was being sent: %s",
				(long long) item->mail->mail_id, state.smtp_reply)));
		return;
	}
	mj_mail_update(&state);
	log_history(item, state.smtp_reply);
	log_outcome(item, state.smtp_reply, state.ended_as != NULL);
}

/*
 * Put a mail back that was not offered: as it was, at once if this process
 * was interrupted, later if it was in trouble.  In a transaction.
 */
static void
put_back_item(const MailBatch *batch, const MailItem *item)
{
	bool trouble = batch->trouble.sqlstate != 0;
	TimestampTz run_at = trouble ? retry_time() : item->run.run_at;
	MjMailState state = { 0 };

	if (!mj_queue_put_back(&item->run, run_at, !trouble))
		return;
	mj_xact_wake(run_at, trouble ? MJ_LANE_NONE : MJ_LANE_MAIL);
	if (!trouble)
		return;
	state.run_id = item->run.run_id;
	state.smtp_reply = mj_mail_words(batch->trouble.problem.message,
									 batch->trouble.problem.detail);
	mj_mail_update(&state);
}

/*
 * Record all outcomes so far; final: also put back what was not offered.
 * Interrupts are held off: a mail that was accepted must not be sent again
 * because its sender was cancelled meanwhile.
 */
static void
record_batch(MailBatch *batch, bool final)
{
	int recorded = 0;
	int i;

	MJ_FAULT("mailer-before-record");
	HOLD_INTERRUPTS();
	begin_work(batch->in_spi);
	for (i = 0; i < batch->count; i++)
	{
		MailItem *item = &batch->items[i];

		if (item->stage == MAIL_RECORDED ||
			(item->stage == MAIL_CLAIMED && !final))
			continue;
		if (item->stage == MAIL_TRIED)
			record_item(item);
		else
			put_back_item(batch, item);
		item->stage = MAIL_RECORDED;
		recorded++;
	}
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
	memset(&item->result, 0, sizeof(MjSmtpResult));
	item->result.outcome = MJ_SMTP_PERMANENT;
	item->result.error = MJ_SMTP_ERR_CONFIG;
	item->result.recipient = -1;
	strlcpy(item->result.message, problem->message,
			sizeof(item->result.message));
	strlcpy(item->result.detail, problem->detail, sizeof(item->result.detail));
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
	if (!mj_mail_load_bodies(item->mail))
		item->mail->mail_id = 0;
	prepare_item(item);
	commit_work(batch->in_spi);
	item->mail->bodies_missing = true; /* again, if it is repeated */
	RESUME_INTERRUPTS();
}

/* Send one mail; what became of it is in item->result. */
static void
send_item(MailBatch *batch, MailItem *item)
{
	MemoryContext old;
	MjMailDraft draft;
	MjProblem problem;

	MemoryContextReset(batch->mail_context);
	old = MemoryContextSwitchTo(batch->mail_context);
	if (item->mail->bodies_missing)
		load_long_item(batch, item);
	if (item->content == NULL)
		refuse_item(item, &item->problem);
	else if (!mj_mail_draft(item->content, &draft, &problem))
		refuse_item(item, &problem);
	else
		mj_session_send(&batch->session, &draft, item->mail->message_id,
						&item->result);
	MemoryContextSwitchTo(old);
}

/* Note what became of a mail, for the record and for the next ones. */
static void
note_result(MailBatch *batch, MailItem *item)
{
	MjSmtpOutcome outcome = item->result.outcome;

	item->stage = MAIL_TRIED;
	item->ended_at = mj_clock_now();
	if (batch->unrecorded++ == 0)
		INSTR_TIME_SET_CURRENT(batch->unrecorded_since);
	if (outcome == MJ_SMTP_ACCEPTED)
		batch->accepted++;
	if (outcome != MJ_SMTP_LOST && outcome != MJ_SMTP_UNCERTAIN)
		batch->losses = 0;
	else if (++batch->losses >= MAX_LOSSES)
	{
		mj_trouble_from_result(&item->result, &batch->trouble);
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

/*
 * Did the server refuse whoever sends, not the mail?  530, 534 and 538 ask for
 * a login or for TLS (RFC 4954, RFC 3207).
 */
static bool
sender_is_refused(const MjSmtpResult *result)
{
	int code = reply_code(result);

	return code == 530 || code == 534 || code == 538;
}

/* Try one mail, on a second connection if the first one was dead. */
static void
try_item(MailBatch *batch, MailItem *item)
{
	while (have_session(batch))
	{
		send_item(batch, item);
		if (item->result.outcome == MJ_SMTP_INTERRUPTED)
			batch->interrupted = true;
		else if (item->result.stale && !item->repeated)
		{
			item->repeated = true;
			mj_session_close(&batch->session);
			continue;
		}
		else if (sender_is_refused(&item->result))
			mj_trouble_from_result(&item->result, &batch->trouble);
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

/* Say once that mail is not being delivered, and once that it is again. */
static void
log_trouble(const MailBatch *batch)
{
	const MjProblem *problem = &batch->trouble.problem;

	if (batch->trouble.sqlstate != 0 && !trouble_logged)
		ereport(LOG,
				(errcode(batch->trouble.sqlstate),
				 errmsg("mail is not being delivered: %s", problem->message),
				 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
				 problem->hint[0] ? errhint("%s", problem->hint) : 0));
	else if (batch->accepted > 0 && trouble_logged)
		ereport(LOG, (errmsg("mail is being delivered again")));
	else
		return;
	trouble_logged = batch->trouble.sqlstate != 0;
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
	log_trouble(batch);
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
		MailItem item = { 0 };
		MjMail mail;

		if (runs[i].lane != MJ_LANE_MAIL)
			continue;
		mj_mail_load(&runs[i].run_id, 1, &mail);
		item.run = runs[i];
		item.mail = &mail;
		item.ended_at = mj_clock_now();
		item.result.outcome = MJ_SMTP_UNCERTAIN;
		item.result.error = MJ_SMTP_ERR_LOST;
		strlcpy(item.result.message,
				"what became of the mail could not be recorded",
				sizeof(item.result.message));
		record_item(&item);
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
 * Find what is due.  Mail that had to be put back because none could be sent
 * is tried now: whoever calls may have repaired it, and must hear if not.
 */
static void
find_due(Delivery *delivery)
{
	TimestampTz now = mj_clock_now();

	begin_work(true);
	mj_mailer_put_back_leftovers(delivery->worker_id);
	delivery->ndue =
		mj_mail_due(now, retry_time(), delivery->left, delivery->due);
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
	if (delivery.progress.unreachable > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("%lld mails could not be sent",
					(long long) delivery.progress.unreachable),
			 delivery.progress.reply ?
				 errdetail("%s", delivery.progress.reply) :
				 0,
			 errhint(
				 "jobs.check_mail() shows which step fails; mail stays queued until then.")));
	return delivery.progress.sent;
}
