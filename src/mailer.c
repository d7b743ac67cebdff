/*-------------------------------------------------------------------------
 *
 * mailer.c
 *	  The mailer: takes due mails from the queue, sends them, records what
 *	  became of them.
 *
 * Three steps, over and over: claim (a transaction, durable), send (no
 * transaction in the mail executor; one without snapshot, xid or lock in
 * jobs.deliver_mail(), which cannot do without), record (a transaction,
 * durable).  The network goes on over all of them: more is claimed while there
 * are mails on their way, and what has ended is recorded while others have not.
 * Whoever dies after the first leaves runs of a dead worker, which the scheduler
 * puts back.
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
#include "mail_check.h"
#include "mail_content.h"
#include "mail_end_store.h"
#include "mail_flow.h"
#include "mail_record.h"
#include "mail_session.h"
#include "mail_signer.h"
#include "mail_store.h"
#include "mail_transport.h"
#include "mailer.h"
#include "queue_store.h"
#include "shmem.h"
#include "smtp_verdict.h"
#include "store.h"
#include "worker.h"
#include "xact.h"

/* Outcomes are recorded when so many wait for it, or the first so long. */
#define RECORD_MAILS 250
#define RECORD_MS 50

/* A record that somebody held up is tried again so much later. */
#define RECORD_AGAIN_US (250 * INT64CONST(1000))

/* The first claim; while the queue has as many, each is twice the last. */
#define FIRST_CLAIM 50

/* So many mails lost in a row say something about the server, not the mails. */
#define MAX_LOSSES 2

/* deliver_mail() looks again at mails of other processes after so long. */
#define MIN_PAUSE_MS 50
#define MAX_PAUSE_MS 1000
/* It gives up when nothing happened for so many times smtp_timeout. */
#define PATIENCE 4

/* Mails that were claimed in one go, with the memory that they share. */
typedef struct MailClaim
{
	MemoryContext context;
	int left; /* not recorded */
} MailClaim;

/* A mail that was claimed. */
typedef struct MailItem
{
	MjParcel parcel;
	MjMailEnd end;
	MjMailContent *content; /* NULL: problem says why */
	MjProblem problem;
	MailClaim *claim;
} MailItem;

/* What one call of the mailer is about. */
typedef struct Mailing
{
	int64 worker_id;
	bool in_spi;		   /* in jobs.deliver_mail(), not an executor */
	MemoryContext context; /* all of it */
	MjTransport *transport;
	int may_claim; /* so many more */
	int size;	   /* of the next claim */
	bool more;	   /* the queue may have some */
	bool alone;	   /* at hand is one that was in hand in a crash */
	bool held_up;  /* somebody has locked the tables */
	int claimed;
	int losses;		  /* in a row */
	bool interrupted; /* the rest was not offered for that */
	bool told;		  /* the flow knows of the transport's trouble */
	int nended;		  /* not recorded */
	MailItem *ended[RECORD_MAILS + MJ_MAILER_BATCH];
	instr_time ended_since;
	/* somebody has locked the tables: not before; real time; 0: nobody has */
	TimestampTz record_at;
} Mailing;

/* The executor's transport, with connections that are kept. */
static MjTransport *kept_transport = NULL;

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

/* Is this process to end, or the session's command, whatever is in hand? */
static bool
must_end(const Mailing *mailing)
{
	return ProcDiePending || (mailing->in_spi && QueryCancelPending);
}

/* begin_work() for the record; false, and nothing, when the tables are locked. */
static bool
begin_record(const Mailing *mailing)
{
	bool patient = must_end(mailing);

	if (!mailing->in_spi)
		return mj_store_begin_record(CurrentMemoryContext, patient);
	begin_work(true);
	if (patient ? mj_store_is_lockable() : mj_store_try_lock())
		return true;
	commit_work(true);
	return false;
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

/* Make the content of a mail whose bodies were read.  In a transaction. */
static void
prepare_item(MailItem *item)
{
	const MjMailEnd *end = &item->end;

	memset(&item->problem, 0, sizeof(MjProblem));
	item->content = NULL;
	if (end->mail->mail_id == 0)
		snprintf(item->problem.message, sizeof(item->problem.message),
				 "the mail of run %lld is gone", (long long) end->run.run_id);
	else
		item->content =
			mj_mail_content(end->mail, end->run.due_at, true, &item->problem);
}

/*
 * The domain that a mail goes to, of its first recipient; palloc'ed, or NULL.
 * Needs a transaction.
 */
static char *
domain_of(const MjMail *mail)
{
	const char *to =
		*mj_mail_redirect_to ? mj_mail_redirect_to : mail->recipient;

	if (to == NULL || mj_smtp_domain_rate <= 0)
		return NULL;
	return mj_mail_first_domain(to);
}

/* What is claimed next, and what came of it. */
typedef struct ClaimWork
{
	Mailing *mailing;
	MailClaim *claim;
	int size;
	bool full; /* there were as many, there may be more */
	int count; /* that are to be sent */
	MailItem *items;
} ClaimWork;

/*
 * Read the mails of the runs that were claimed, end those that are not to be
 * sent, and make items of the others.
 */
static void
load_items(ClaimWork *work, MjRun *runs, int count)
{
	int64 *run_ids = palloc(count * sizeof(int64));
	MjMail *mails = palloc(count * sizeof(MjMail));
	MailItem *items = palloc(count * sizeof(MailItem));
	int i;

	for (i = 0; i < count; i++)
		run_ids[i] = runs[i].run_id;
	mj_mail_load(run_ids, count, mails);
	count = mj_mail_screen(work->mailing->worker_id, runs, mails, count);
	for (i = 0; i < count; i++)
	{
		memset(&items[i], 0, sizeof(MailItem));
		items[i].claim = work->claim;
		items[i].end.run = runs[i];
		items[i].end.mail = &mails[i];
		items[i].parcel.message_id = mails[i].message_id;
		items[i].parcel.domain = domain_of(&mails[i]);
		if (!mails[i].bodies_missing)
			prepare_item(&items[i]);
	}
	work->claim->left = work->count = count;
	work->items = items;
}

/* Claim due mails, at most so many.  False if there are none. */
static bool
claim_some(ClaimWork *work, int most, TimestampTz now)
{
	Mailing *mailing = work->mailing;
	bool has_none =
		mailing->nended == 0 && mj_transport_in_hand(mailing->transport) == 0;
	MjRun *runs = palloc(most * sizeof(MjRun));
	int count =
		mj_queue_claim_mails(mailing->worker_id, now, most, has_none, runs);

	work->full = count == most;
	if (count == 0)
		return false;
	mailing->alone = runs[0].crashes > 0;
	load_items(work, runs, count);
	return true;
}

/*
 * Claim due mails, as far as the flow permits.  Those that end as they are
 * claimed do not count.  Settings that are in the way are the transport's
 * trouble, for which the mails come back, and the flow is paused.  In a
 * transaction, before whose commit none of them is put in.
 */
static void
claim_mails(void *arg)
{
	ClaimWork *work = arg;
	MjTransport *transport = work->mailing->transport;
	TimestampTz now = mj_clock_now();
	MjFlowPermit permit;

	work->count = 0;
	work->full = false;
	(void) mj_mail_expire(now);
	mj_flow_ask(work->size, mj_smtp_max_connections, work->mailing->in_spi, now,
				&permit);
	mj_transport_allow(transport, permit.connections);
	while (permit.mails > 0 && claim_some(work, permit.mails, now) &&
		   work->count == 0)
		;
	if (work->count == 0)
		return;
	if (permit.is_trial)
	{
		mj_flow_begin_trial(now);
		work->full = false;
	}
	if (mj_transport_check(transport))
		check_defaults(mj_transport_trouble(transport));
}

/* The transaction of a claim; false when somebody holds the executor up. */
static bool
try_claim(Mailing *mailing, ClaimWork *work)
{
	if (!mailing->in_spi)
		return mj_worker_do_bounded(work->claim->context, true,
									MJ_HELD_UP_CLAIM, claim_mails, work);
	begin_work(true);
	claim_mails(work);
	commit_work(true);
	return true;
}

/*
 * There are many mails, and it is not the network that holds them up: a second
 * executor sends, too, with half of the connections.  The rates of domains are
 * kept by one alone.
 */
static void
share_work(Mailing *mailing)
{
	if (mj_transport_is_stretched(mailing->transport) && !mailing->in_spi &&
		mailing->size == MJ_MAILER_BATCH && mj_smtp_domain_rate <= 0 &&
		mj_smtp_max_connections > 1)
		mj_lane_want_second();
}

/*
 * Claim some more.  An executor says idle before it looks, so that whoever
 * commits a mail after the look wakes it.
 */
static void
claim_more(Mailing *mailing, int size)
{
	MemoryContext context =
		AllocSetContextCreate(mailing->context, "motionify_jobs mail claim",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ClaimWork work = { mailing, palloc0(sizeof(MailClaim)), size };
	int i;

	if (!mailing->in_spi)
		mj_slot_set_state(MJ_SLOT_IDLE);
	work.claim->context = context;
	mailing->held_up = !try_claim(mailing, &work);
	MemoryContextSwitchTo(old);
	mailing->more = !mailing->held_up && work.full;
	if (mailing->held_up || work.count == 0)
	{
		MemoryContextDelete(context);
		return;
	}
	if (mailing->more && !mailing->in_spi)
		mj_slot_set_state(MJ_SLOT_BUSY);
	if (mailing->more)
		share_work(mailing);
	mailing->size =
		mailing->more ? Min(mailing->size * 2, MJ_MAILER_BATCH) : mailing->size;
	mailing->claimed += work.count;
	mailing->may_claim -= work.count;
	outstanding += work.count;
	for (i = 0; i < work.count; i++)
		mj_transport_put(mailing->transport, &work.items[i].parcel, false);
	MJ_FAULT("mailer-claimed");
}

/* Has somebody woken this executor since it has looked? */
static bool
was_woken(const Mailing *mailing)
{
	return !mailing->in_spi && mj_my_slot->state != MJ_SLOT_IDLE;
}

/* How many mails to claim now; 0: none. */
static int
claim_size(Mailing *mailing)
{
	MjTransport *transport = mailing->transport;
	int size = Min(mailing->size, mailing->may_claim);

	if (mailing->interrupted || mailing->held_up || mailing->record_at != 0 ||
		mj_transport_trouble(transport)->sqlstate != 0 ||
		(mailing->alone && mj_transport_in_hand(transport) > 0))
		return 0;
	if (!mailing->more && !was_woken(mailing))
		return 0;
	if (mj_transport_waiting(transport) > mailing->size / 2)
		return 0;
	return mj_transport_room(transport, size);
}

/* ------------------------------------------------------------------------
 * Recording
 * ------------------------------------------------------------------------
 */

/* Put a mail back whose domain's turn is later.  In a transaction. */
static void
defer_item(const MailItem *item)
{
	if (mj_queue_unclaim(&item->end.run, MJ_LANE_MAIL, item->parcel.not_until))
		mj_xact_wake(item->parcel.not_until, MJ_LANE_NONE);
}

/* Write what has ended.  In a transaction. */
static void
write_ended(Mailing *mailing)
{
	MjMailEnd *ends[lengthof(mailing->ended)];
	int count = 0;
	int i;

	for (i = 0; i < mailing->nended; i++)
	{
		if (mailing->ended[i]->parcel.not_until != 0)
			defer_item(mailing->ended[i]);
		else
			ends[count++] = &mailing->ended[i]->end;
	}
	mj_mail_record(ends, count, mj_transport_trouble(mailing->transport),
				   &mailing->told);
}

/* What has ended is recorded: forget it. */
static void
forget_ended(Mailing *mailing)
{
	int i;

	for (i = 0; i < mailing->nended; i++)
	{
		MailClaim *claim = mailing->ended[i]->claim;

		if (--claim->left == 0)
			MemoryContextDelete(claim->context);
	}
	outstanding -= mailing->nended;
	mailing->nended = 0;
}

/*
 * Record all that has ended, and put back what was not offered; false when somebody
 * has locked the tables.  Interrupts are held off: a mail that was accepted must not
 * be sent again because its sender was cancelled meanwhile.
 */
static bool
record_ended(Mailing *mailing)
{
	MemoryContext old;
	MemoryContext context;

	MJ_FAULT("mailer-before-record");
	HOLD_INTERRUPTS();
	context =
		AllocSetContextCreate(mailing->context, "motionify_jobs mail record",
							  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	mailing->record_at = 0;
	if (begin_record(mailing))
	{
		write_ended(mailing);
		commit_work(mailing->in_spi);
		forget_ended(mailing);
	}
	else
		mailing->record_at = mj_clock_real() + RECORD_AGAIN_US;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	RESUME_INTERRUPTS();
	MJ_FAULT("mailer-recorded");
	return mailing->record_at == 0;
}

/* For how many ms may the record still wait? */
static long
record_wait(const Mailing *mailing)
{
	instr_time elapsed;

	if (mailing->record_at != 0)
		return TimestampDifferenceMilliseconds(mj_clock_real(),
											   mailing->record_at);
	if (mailing->nended >= RECORD_MAILS ||
		mj_transport_in_hand(mailing->transport) == 0)
		return 0;
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, mailing->ended_since);
	return Max(RECORD_MS - (long) INSTR_TIME_GET_MILLISEC(elapsed), 0);
}

/* ------------------------------------------------------------------------
 * Sending
 * ------------------------------------------------------------------------
 */

/* A result that says that this mail can never be sent. */
static void
refuse_parcel(MjParcel *parcel, const MjProblem *problem)
{
	MjSmtpResult *result = &parcel->result;

	memset(result, 0, sizeof(MjSmtpResult));
	result->outcome = MJ_SMTP_PERMANENT;
	result->error = MJ_SMTP_ERR_CONFIG;
	result->recipient = MJ_SMTP_ABOUT_ALL;
	strlcpy(result->message, problem->message, sizeof(result->message));
	strlcpy(result->detail, problem->detail, sizeof(result->detail));
}

/*
 * Read the bodies of a long mail, right before it is sent, into the memory of
 * the mail at hand.  No interrupts: they are for when outcomes are recorded.
 */
static void
load_long_item(Mailing *mailing, MailItem *item)
{
	HOLD_INTERRUPTS();
	begin_work(mailing->in_spi);
	if (!mj_mail_load_bodies(item->end.mail))
		item->end.mail->mail_id = 0;
	prepare_item(item);
	commit_work(mailing->in_spi);
	item->end.mail->bodies_missing = true; /* again, if it is repeated */
	RESUME_INTERRUPTS();
}

/* The MjPrepare of all transports. */
static bool
prepare_parcel(void *arg, MjParcel *parcel)
{
	MailItem *item = (MailItem *) parcel;
	MjProblem problem;

	if (item->end.mail->bodies_missing)
		load_long_item(arg, item);
	if (item->content == NULL)
		problem = item->problem;
	else if (mj_mail_draft(item->content, &parcel->draft, &problem))
		return true;
	refuse_parcel(parcel, &problem);
	return false;
}

/* Note what became of a mail that was offered, for the next ones. */
static void
note_result(Mailing *mailing, const MjSmtpResult *result)
{
	MjMailTrouble *trouble = mj_transport_trouble(mailing->transport);

	if (result->outcome != MJ_SMTP_LOST && result->outcome != MJ_SMTP_UNCERTAIN)
		mailing->losses = 0;
	else if (++mailing->losses >= MAX_LOSSES && trouble->sqlstate == 0)
	{
		mj_trouble_from_result(result, trouble);
		strlcpy(trouble->problem.detail,
				"It was so for several mails, and the others were not tried.",
				sizeof(trouble->problem.detail));
	}
}

/* A mail has come out of the transport. */
static void
take_item(Mailing *mailing, MailItem *item)
{
	MjParcel *parcel = &item->parcel;

	if (parcel->offered &&
		mj_smtp_verdict(&parcel->result) == MJ_VERDICT_HOPELESS)
	{
		mj_trouble_from_result(&parcel->result,
							   mj_transport_trouble(mailing->transport));
		parcel->offered = false;
	}
	item->end.offered = parcel->offered;
	item->end.begun_at = parcel->begun_at;
	item->end.ended_at = parcel->ended_at;
	if (parcel->offered)
	{
		item->end.result = parcel->result;
		note_result(mailing, &parcel->result);
	}
	if (mailing->nended == 0)
		INSTR_TIME_SET_CURRENT(mailing->ended_since);
	mailing->ended[mailing->nended++] = item;
}

/* Take what has come out, as many as are to be recorded in one go. */
static void
take_ended(Mailing *mailing)
{
	MjParcel *parcel;

	while (mailing->nended < lengthof(mailing->ended) &&
		   (parcel = mj_transport_take(mailing->transport)) != NULL)
		take_item(mailing, (MailItem *) parcel);
}

/* Record what has ended, if it is time; or all.  False if some could not be. */
static bool
record_due(Mailing *mailing, bool all)
{
	take_ended(mailing);
	while (mailing->nended > 0 && (all || record_wait(mailing) == 0) &&
		   record_ended(mailing))
		take_ended(mailing);
	return mailing->nended == 0;
}

/* ------------------------------------------------------------------------
 * Mailings
 * ------------------------------------------------------------------------
 */

/*
 * Is this process to stop?  Also when the settings have changed: what the server
 * may have taken is seen through, the rest goes back, and the next call goes by
 * the new ones.
 */
static bool
must_stop(Mailing *mailing)
{
	if (!mailing->in_spi && mj_worker_reload() &&
		mj_transport_is_outdated(mailing->transport))
		mailing->interrupted = true;
	if (mj_session_must_stop(!mailing->in_spi))
		mailing->interrupted = true;
	return mailing->interrupted;
}

/* Begin nothing more if that is of no use; true: nothing is on its way. */
static bool
is_through(Mailing *mailing)
{
	MjTransport *transport = mailing->transport;

	if (must_stop(mailing))
		return mj_transport_stop(transport);
	if (mj_transport_trouble(transport)->sqlstate != 0)
		mj_transport_return_all(transport);
	return mj_transport_in_hand(transport) == 0 && claim_size(mailing) == 0;
}

/* Claim, send and record, until there is no more to do. */
static void
mail_on(Mailing *mailing)
{
	MjTransport *transport = mailing->transport;

	for (;;)
	{
		long timeout_ms = MAX_PAUSE_MS;
		int size;

		(void) record_due(mailing, false);
		size = claim_size(mailing);
		if (size > 0)
			claim_more(mailing, size);
		if (is_through(mailing) &&
			(record_due(mailing, true) || must_end(mailing)))
			break;
		if (mailing->nended > 0)
			timeout_ms = record_wait(mailing);
		Assert(mailing->in_spi || !IsTransactionState());
		Assert(!ActiveSnapshotSet());
		mj_transport_turn(transport, timeout_ms);
	}
}

/* A mailing in a memory context of its own. */
static Mailing *
new_mailing(int64 worker_id, bool in_spi, int max_mails)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs mailing",
							  ALLOCSET_DEFAULT_SIZES);
	Mailing *mailing = MemoryContextAllocZero(context, sizeof(Mailing));

	mailing->context = context;
	mailing->worker_id = worker_id;
	mailing->in_spi = in_spi;
	mailing->may_claim = max_mails;
	mailing->size = FIRST_CLAIM;
	mailing->more = true;
	return mailing;
}

/* Do all of a mailing over a transport. */
static void
do_mailing(Mailing *mailing, MjTransport *transport)
{
	MemoryContext old = MemoryContextSwitchTo(mailing->context);

	mailing->transport = transport;
	mj_transport_begin(transport, prepare_parcel, mailing);
	mail_on(mailing);
	MemoryContextSwitchTo(old);
}

/* Begin with what an earlier call could not end. */
static void
recover_leftovers(const Mailing *mailing)
{
	MemoryContext old = MemoryContextSwitchTo(mailing->context);

	begin_work(mailing->in_spi);
	mj_mailer_put_back_leftovers(mailing->worker_id);
	commit_work(mailing->in_spi);
	MemoryContextSwitchTo(old);
}

/* The executor's transport. */
static MjTransport *
have_kept_transport(void)
{
	MemoryContext old;

	if (kept_transport == NULL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		kept_transport = mj_transport_new();
		MemoryContextSwitchTo(old);
	}
	return kept_transport;
}

/*
 * Send what is due, until there is no more; returns how many mails were claimed:
 * 0 means that there is nothing to do, -1 that somebody has locked the tables.
 * For the mail executor, which has a slot with that worker_id and no transaction
 * open; the slot says idle while there is nothing more to claim, also when mails
 * are on their way.  Returns early, but for the replies to final dots, when the
 * worker must leave or was interrupted; whoever calls looks for that.
 * Trouble with the server is logged, not raised.  Connections are kept.
 */
int
mj_mailer_run(int64 worker_id)
{
	Mailing *mailing;
	int claimed;

	Assert(!IsTransactionState());
	mailing = new_mailing(worker_id, false, PG_INT32_MAX);
	if (outstanding > 0)
		recover_leftovers(mailing);
	do_mailing(mailing, have_kept_transport());
	claimed = mailing->claimed == 0 && mailing->held_up ? -1 : mailing->claimed;
	MemoryContextDelete(mailing->context);
	return claimed;
}

/*
 * Nothing is at hand: close connections that were kept and are idle for long.
 * Returns when there will be more of them, in ms; -1: there is none left.
 */
long
mj_mailer_rest(void)
{
	return kept_transport ? mj_transport_rest(kept_transport) : -1;
}

/* This process ends: take leave of the server, without waiting. */
void
mj_mailer_leave(void)
{
	if (kept_transport)
		mj_transport_leave(kept_transport);
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
		mj_mail_record(&ends, 1, NULL, NULL);
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
	MjTransport *transport;
	MjMailProgress progress;
} Delivery;

/* Send what can be claimed.  Raises what kept it from doing so. */
static void
deliver_claimable(Delivery *delivery)
{
	int claimed = 1;

	while (claimed > 0 && delivery->left > 0)
	{
		Mailing *mailing =
			new_mailing(delivery->worker_id, true, delivery->left);
		const MjMailTrouble *trouble =
			mj_transport_trouble(delivery->transport);

		do_mailing(mailing, delivery->transport);
		CHECK_FOR_INTERRUPTS();
		if (trouble->sqlstate != 0)
			mj_mail_raise(trouble->sqlstate, &trouble->problem);
		claimed = mailing->claimed;
		delivery->left -= claimed;
		MemoryContextDelete(mailing->context);
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

/*
 * Is nothing on its way, and nothing to be sent for longer than this, because
 * mail is slowed?  Then says so.
 */
static bool
is_slowed(const Delivery *delivery, long wait_ms)
{
	TimestampTz until;
	bool slowed;

	if (delivery->progress.in_flight > 0)
		return false;
	begin_work(true);
	slowed = mj_flow_is_slowed(&until);
	commit_work(true);
	if (!slowed || until <= mj_clock_now() + wait_ms * INT64CONST(1000))
		return false;
	ereport(
		WARNING,
		(errmsg("mail is slowed until %s; mails that have not been sent: %lld",
				timestamptz_to_str(until),
				(long long) delivery->progress.claimable),
		 errhint("jobs.mail_transport says why.")));
	return true;
}

/* It has taken too long. */
static void
warn_of_rest(const Delivery *delivery)
{
	const MjMailProgress *progress = &delivery->progress;

	if (progress->in_flight > 0)
		ereport(WARNING,
				(errmsg("mails that other processes are still sending: %lld",
						(long long) progress->in_flight)));
	else
		ereport(WARNING,
				(errmsg("mails that have not been sent: %lld",
						(long long) progress->claimable)));
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
		(void) mj_transport_rest(delivery->transport);
		look_at_progress(delivery);
		if (is_done(delivery) || is_slowed(delivery, patience_ms - waited_ms))
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
	warn_of_rest(delivery);
}

/* See it through over connections of its own. */
static void
send_and_see(Delivery *delivery)
{
	delivery->transport = mj_transport_new();
	PG_TRY();
	{
		see_through(delivery);
		mj_transport_leave(delivery->transport);
	}
	PG_FINALLY();
	{
		mj_transport_free(delivery->transport);
	}
	PG_END_TRY();
}

/* Only see whether mail can be sent.  Raises what is in the way. */
static void
try_session(void)
{
	MjMailTrouble trouble;

	mj_mail_check_try(&trouble);
	CHECK_FOR_INTERRUPTS();
	if (trouble.sqlstate != 0)
		mj_mail_raise(trouble.sqlstate, &trouble.problem);
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
	send_and_see(&delivery);
	return delivery.progress.sent;
}
