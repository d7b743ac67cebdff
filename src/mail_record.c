/*-------------------------------------------------------------------------
 *
 * mail_record.c
 *	  The record of mails that were claimed: what became of them.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "address.h"
#include "clock.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mail_content.h"
#include "mail_end_store.h"
#include "mail_record.h"
#include "mail_session.h"
#include "mail_flow.h"
#include "mime.h"
#include "smtp_verdict.h"
#include "suppression_store.h"
#include "xact.h"

/* No mail waits longer for its next attempt. */
#define MJ_MAX_RETRY_US USECS_PER_DAY

/* A wait is longer by up to this part of it, so that mails spread out. */
#define MJ_RETRY_JITTER 0.25

/*
 * So often a mail goes back without counting a failure, for it was the
 * server's or the connection's; one that has that each time may be the reason.
 */
#define MJ_MAX_UNCOUNTED 10

/* What a record says of the flow. */
typedef struct Summary
{
	int accepted;
	int answered;		   /* refused, but by a server that takes mails */
	int withheld;		   /* not offered */
	const char *throttled; /* reply of a server that wants less; NULL: none */
	const char *closing;   /* that says good-bye */
} Summary;

/* ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

/* The code of the reply that decided; 0 if none did. */
int
mj_mail_reply_code(const MjSmtpResult *result)
{
	if (result->outcome != MJ_SMTP_ACCEPTED &&
		result->error != MJ_SMTP_ERR_REFUSED)
		return 0;
	return result->reply.code;
}

/* What the server said; NULL: nothing. */
static const char *
reply_text(const MjSmtpResult *result)
{
	if (mj_mail_reply_code(result) != 0)
		return psprintf("%d %s", result->reply.code, result->reply.text);
	if (result->outcome == MJ_SMTP_ACCEPTED)
		return pstrdup(result->reply.text);
	return NULL;
}

/* The SQLSTATE of an attempt that did not succeed, for the history. */
static const char *
sqlstate_of(const MjSmtpResult *result)
{
	return pstrdup(unpack_sql_state(result->error == MJ_SMTP_ERR_REFUSED ?
										ERRCODE_EXTERNAL_ROUTINE_EXCEPTION :
										mj_sqlstate_from_result(result)));
}

/* The server log, as motionify_jobs.log_runs wants it. */
static void
log_outcome(int64 mail_id, const MjMailEntry *entry)
{
	bool sent = entry->ended_as != NULL && strcmp(entry->ended_as, "sent") == 0;

	if (mj_log_runs < (sent ? MJ_LOG_ALL : MJ_LOG_FAILURES))
		return;
	ereport(LOG,
			(errmsg("mail " INT64_FORMAT " %s%s: %s", mail_id,
					sent ? "sent" : entry->status,
					sent						? "" :
						entry->ended_as == NULL ? ", will be tried again" :
												  ", given up",
					entry->words),
			 errhidestmt(true), errhidecontext(true)));
}

/* ------------------------------------------------------------------------
 * Suppressed recipients
 * ------------------------------------------------------------------------
 */

/* The recipients of a mail, folded; returns how many. */
static int
folded_recipients(const MjMail *mail, const char ***addresses)
{
	int n = mj_mail_recipients(mail, addresses);
	int i;

	for (i = 0; i < n; i++)
	{
		const char *address = (*addresses)[i];
		size_t size = strlen(address) + 1;
		char *folded = palloc(size);

		mj_address_fold(address, folded, size);
		(*addresses)[i] = folded;
	}
	return n;
}

/*
 * Which of the recipients of a mail are suppressed: sets suppressed and
 * nsuppressed.  False if none is left.  In a transaction.
 */
bool
mj_mail_suppress(MjMail *mail)
{
	const char **addresses;
	const char **found;
	int n;

	mail->nsuppressed = 0;
	n = folded_recipients(mail, &addresses);
	mail->nsuppressed = mj_suppression_find(addresses, n, &found);
	mail->suppressed = found;
	return mail->nsuppressed == 0 || mj_mail_recipients(mail, &addresses) > 0;
}

/*
 * Are any recipients of some mails suppressed?  Mostly none is, so it is asked
 * once for all.
 */
static bool
any_suppressed(const MjMail *mails, int n)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs recipients",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int room = 64;
	const char **all = palloc(room * sizeof(char *));
	const char **found;
	int count = 0;
	int i;

	for (i = 0; i < n; i++)
	{
		const char **addresses;
		int more =
			mails[i].mail_id ? folded_recipients(&mails[i], &addresses) : 0;

		while (count + more > room)
			all = repalloc(all, (room *= 2) * sizeof(char *));
		if (more > 0)
			memcpy(all + count, addresses, more * sizeof(char *));
		count += more;
	}
	i = mj_suppression_find(all, count, &found);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return i > 0;
}

/* A mail that has nobody left to go to has ended. */
static void
fill_suppressed(MjMailEntry *entry, const MjRun *run, const MjMail *mail)
{
	memset(entry, 0, sizeof(MjMailEntry));
	entry->run = run;
	entry->role = mail->role;
	entry->role_oid = mail->role_oid;
	entry->ended_as = "suppressed";
	entry->failures = run->failures;
	entry->offered = true;
	entry->status = "skipped";
	entry->error = MJ_MAIL_SUPPRESSED;
	entry->words = entry->error;
	entry->begun_at = entry->ended_at = mj_clock_now();
}

/*
 * Look through mails that a worker has just claimed, with their runs: those
 * whose recipients are all suppressed end, of others the suppressed ones will
 * be left out.  Returns how many are left in the arrays.  In the transaction of
 * the claim.
 */
int
mj_mail_screen(int64 worker_id, MjRun *runs, MjMail *mails, int n)
{
	MjMailEntry *entries;
	MjRun *ended;
	bool *written;
	int nended = 0;
	int left = 0;
	int i;

	if (!any_suppressed(mails, n))
		return n;
	entries = palloc(n * sizeof(MjMailEntry));
	ended = palloc(n * sizeof(MjRun));
	written = palloc(n * sizeof(bool));
	for (i = 0; i < n; i++)
		if (mails[i].mail_id == 0 || mj_mail_suppress(&mails[i]))
		{
			runs[left] = runs[i];
			mails[left++] = mails[i];
		}
		else
		{
			ended[nended] = runs[i];
			fill_suppressed(&entries[nended], &ended[nended], &mails[i]);
			nended++;
		}
	if (nended > 0)
		mj_mail_write_entries(worker_id, entries, nended, written);
	return left;
}

/*
 * The recipient that a reply was about, as it is in the envelope; NULL: none
 * in particular.
 */
static const char *
refused_recipient(const MjMailEnd *end, int *nrecipients)
{
	const char **addresses;
	int place = end->result.recipient;

	*nrecipients = mj_mail_recipients(end->mail, &addresses);
	if (place == MJ_SMTP_ABOUT_ALL && *nrecipients == 1)
		place = 0; /* a reply to the message is about it, too */
	return place >= 0 && place < *nrecipients ? addresses[place] : NULL;
}

/*
 * The server has said that there is no such mailbox: nothing is sent to it any
 * more.  True if there are other recipients.
 */
static bool
suppress_recipient(const MjMailEnd *end)
{
	char folded[MJ_MIME_MAX_ADDRESS + 1];
	MjSuppression entry = { 0 };
	int nrecipients;
	const char *address;

	if (end->mail->mail_id == 0 || *mj_mail_redirect_to != '\0')
		return false;
	address = refused_recipient(end, &nrecipients);
	if (address == NULL)
		return false;
	mj_address_fold(address, folded, sizeof(folded));
	entry.address = folded;
	entry.reason = reply_text(&end->result);
	entry.since = end->ended_at;
	entry.by_server = true;
	entry.role = end->mail->role;
	entry.mail_id = end->mail->mail_id;
	(void) mj_suppression_add(&entry);
	return nrecipients > 1;
}

/* ------------------------------------------------------------------------
 * What becomes of a mail
 * ------------------------------------------------------------------------
 */

/*
 * When a mail that has failed so often is tried again: after about
 * motionify_jobs.mail_retry_delay, then after twice that, and so on.
 */
static TimestampTz
retry_time(int failures, TimestampTz now)
{
	double us = (double) mj_mail_retry_delay_s * USECS_PER_SEC;
	int i;

	for (i = 1; i < failures && us < MJ_MAX_RETRY_US; i++)
		us *= 2;
	us = Min(us, Max(MJ_MAX_RETRY_US, mj_mail_retry_delay_s * USECS_PER_SEC));
	us *= 1 + MJ_RETRY_JITTER * pg_prng_double(&pg_global_prng_state);
	return now + (TimestampTz) us;
}

/* It counts as a failure: try again later, or end as what is given. */
static void
fail_or_retry(const MjMailEnd *end, MjMailEntry *entry, const char *ended_as)
{
	entry->counted = true;
	entry->failures = end->run.failures + 1;
	if (entry->failures >= mj_mail_max_attempts)
		entry->ended_as = ended_as;
	else
		entry->run_at = retry_time(entry->failures, end->ended_at);
}

/* It does not: try again at once, as far as the flow permits. */
static void
go_again(const MjMailEnd *end, MjMailEntry *entry)
{
	const MjRun *run = &end->run;

	if (mj_run_uncounted(run) > MJ_MAX_UNCOUNTED)
		fail_or_retry(end, entry, "failed");
	else
	{
		entry->ready = true;
		entry->run_at = run->run_at;
	}
}

/* The server has refused it for good: but perhaps one recipient only. */
static void
end_refused(const MjMailEnd *end, MjMailEntry *entry)
{
	entry->counted = true;
	if (mj_smtp_mailbox_unknown(&end->result) && suppress_recipient(end))
	{
		entry->ready = true;
		entry->run_at = end->run.run_at;
	}
	else
		entry->ended_as = "failed";
}

/* What becomes of a mail that was offered, and of its run. */
static void
judge(const MjMailEnd *end, MjMailEntry *entry)
{
	entry->status = "failed";
	switch (mj_smtp_verdict(&end->result))
	{
		case MJ_VERDICT_SENT:
			entry->status = "succeeded";
			entry->ended_as = "sent";
			entry->counted = true;
			break;
		case MJ_VERDICT_FAILED:
			end_refused(end, entry);
			break;
		case MJ_VERDICT_UNCERTAIN:
			entry->status = "uncertain";
			fail_or_retry(end, entry, "uncertain");
			if (mj_mail_on_uncertain == MJ_UNCERTAIN_HOLD)
				entry->ended_as = "uncertain";
			break;
		case MJ_VERDICT_AGAIN:
			go_again(end, entry);
			break;
		case MJ_VERDICT_RETRY:
		case MJ_VERDICT_HOPELESS:
			fail_or_retry(end, entry, "failed");
			break;
	}
}

/* What is written of a mail that was offered. */
static void
fill_offered(const MjMailEnd *end, const char *host, MjMailEntry *entry)
{
	const MjSmtpResult *result = &end->result;

	judge(end, entry);
	entry->offered = true;
	entry->smtp_code = mj_mail_reply_code(result);
	entry->reply = reply_text(result);
	entry->words = entry->reply != NULL ?
		entry->reply :
		mj_mail_words(result->message, result->detail);
	entry->begun_at = end->begun_at;
	entry->host = host;
	if (result->outcome == MJ_SMTP_ACCEPTED)
		return;
	entry->sqlstate = sqlstate_of(result);
	entry->error = result->message;
	entry->error_detail = result->detail[0] ? result->detail : NULL;
}

/* What is written of a mail that was not: as it was, with the trouble in words. */
static void
fill_withheld(const MjMailEnd *end, const MjMailTrouble *trouble,
			  MjMailEntry *entry)
{
	entry->ready = true;
	entry->run_at = end->run.run_at;
	entry->begun_at = end->run.started_at;
	if (trouble != NULL && trouble->sqlstate != 0)
		entry->words =
			mj_mail_words(trouble->problem.message, trouble->problem.detail);
}

/* What is written of a mail. */
static void
fill_entry(const MjMailEnd *end, const MjMailTrouble *trouble, const char *host,
		   MjMailEntry *entry)
{
	memset(entry, 0, sizeof(MjMailEntry));
	entry->run = &end->run;
	entry->role = end->mail->role;
	entry->role_oid = end->mail->role_oid;
	entry->failures = end->run.failures;
	entry->ended_at = end->offered ? end->ended_at : mj_clock_now();
	if (end->offered)
		fill_offered(end, host, entry);
	else
		fill_withheld(end, trouble, entry);
}

/* ------------------------------------------------------------------------
 * The record
 * ------------------------------------------------------------------------
 */

/* Note what a mail says of the flow. */
static void
summarise(const MjMailEnd *end, const MjMailEntry *entry, Summary *summary)
{
	if (!end->offered)
		summary->withheld++;
	else if (end->result.outcome == MJ_SMTP_ACCEPTED)
		summary->accepted++;
	else if (entry->smtp_code == 421)
		summary->closing = entry->words;
	else if (mj_smtp_is_throttled(&end->result))
		summary->throttled = entry->words;
	else if (entry->smtp_code != 0)
		summary->answered++;
}

/*
 * Tell the flow; of trouble, unless it was told.  A server that takes mails, and
 * then says good-bye, as many do after some on a connection, does not want less.
 */
static void
tell_flow(const Summary *summary, const MjMailTrouble *trouble, bool *told)
{
	TimestampTz now = mj_clock_now();

	if (summary->withheld > 0 && trouble != NULL && trouble->sqlstate != 0)
	{
		if (!*told)
			(void) mj_flow_failed(trouble, now);
		*told = true;
	}
	else if (summary->throttled != NULL)
		(void) mj_flow_throttled(summary->throttled, now);
	else if (summary->closing != NULL && summary->accepted == 0)
		(void) mj_flow_throttled(summary->closing, now);
	else if (summary->accepted > 0)
		mj_flow_succeeded(now);
	else if (summary->answered > 0)
		mj_flow_answered(now);
}

/* Whoever has to look at a mail that goes on is woken at commit. */
static void
wake_for(const MjMailEntry *entry)
{
	if (entry->ended_as != NULL)
		return;
	mj_xact_wake(entry->run_at, entry->ready ? MJ_LANE_MAIL : MJ_LANE_NONE);
	if (entry->ready)
		mj_xact_ready(entry->run->priority, entry->run->run_id);
}

/* A mail has been written, or was taken from this process meanwhile. */
static void
note_written(const MjMailEnd *end, const MjMailEntry *entry, bool written)
{
	if (written)
		wake_for(entry);
	if (!end->offered)
		return;
	if (written)
		log_outcome(end->mail->mail_id, entry);
	else
		ereport(
			LOG,
			(errmsg("mail " INT64_FORMAT
					" was taken from this process while it was being sent: %s",
					end->mail->mail_id, entry->words)));
}

/*
 * Write that a mail was sent, but for its own row.  It is what becomes of most
 * mails, and done without statements.  False if it was taken away.
 */
static bool
write_sent(const MjMailEntry *entry)
{
	MjRun run = *entry->run;
	MjRunOwner owner = { 0 };
	MjOutcome outcome = { 0 };

	run.started_at = entry->begun_at;
	run.worker = entry->host;
	owner.job = MJ_MAIL_JOB_NAME;
	owner.role = entry->role;
	owner.role_oid = entry->role_oid;
	outcome.status = entry->status;
	outcome.rows_isnull = true;
	outcome.result = entry->reply;
	outcome.finished_at = entry->ended_at;
	return mj_history_end_run(&run, &owner, &outcome);
}

/* Write the entries of mails that were sent. */
static void
write_all_sent(const MjMailEntry *entries, int count, bool *written)
{
	MjMailSent *sent = palloc(Max(count, 1) * sizeof(MjMailSent));
	int n = 0;
	int i;

	for (i = 0; i < count; i++)
	{
		written[i] = write_sent(&entries[i]);
		if (!written[i])
			continue;
		sent[n].run_id = entries[i].run->run_id;
		sent[n].at = entries[i].ended_at;
		sent[n].smtp_code = entries[i].smtp_code;
		sent[n++].smtp_reply = entries[i].words;
	}
	mj_mail_update_sent(sent, n);
}

/* Was a mail sent? */
static bool
is_sent(const MjMailEnd *end)
{
	return end->offered && end->result.outcome == MJ_SMTP_ACCEPTED;
}

/*
 * Those that were sent come first: returns how many.  The order of mails does
 * not matter here.
 */
static int
sort_ends(MjMailEnd *const *ends, int count, MjMailEnd **sorted)
{
	int nsent = 0;
	int n = 0;
	int i;

	for (i = 0; i < count; i++)
		if (is_sent(ends[i]))
			sorted[nsent++] = ends[i];
	for (i = 0, n = nsent; i < count; i++)
		if (!is_sent(ends[i]))
			sorted[n++] = ends[i];
	return nsent;
}

/*
 * Record what became of mails that this process has claimed, all by one
 * worker_id, and put back those that were not offered: trouble says why, with
 * sqlstate 0 if the process was interrupted; it may be NULL if all were.  *told
 * is false before the first record of what may be one trouble, which several
 * connections meet: the flow is to count it once.  In a transaction that the
 * caller commits, durably, with interrupts held off.
 */
void
mj_mail_record(MjMailEnd *const *ends, int count, const MjMailTrouble *trouble,
			   bool *told)
{
	MjMailEnd **sorted = palloc(Max(count, 1) * sizeof(MjMailEnd *));
	MjMailEntry *entries = palloc(Max(count, 1) * sizeof(MjMailEntry));
	bool *written = palloc(Max(count, 1) * sizeof(bool));
	int nsent = sort_ends(ends, count, sorted);
	const char *host = mj_session_host();
	Summary summary = { 0 };
	int i;

	for (i = 0; i < count; i++)
	{
		fill_entry(sorted[i], trouble, host, &entries[i]);
		summarise(sorted[i], &entries[i], &summary);
	}
	if (nsent > 0)
		write_all_sent(entries, nsent, written);
	if (count > nsent)
		mj_mail_write_entries(sorted[nsent]->run.worker_id, entries + nsent,
							  count - nsent, written + nsent);
	for (i = 0; i < count; i++)
		note_written(sorted[i], &entries[i], written[i]);
	tell_flow(&summary, trouble, told);
}
