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

#include "utils/elog.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mail_record.h"
#include "mail_session.h"
#include "xact.h"

/* The code of the reply that decided; 0 if none did. */
int
mj_mail_reply_code(const MjSmtpResult *result)
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
	if (mj_mail_reply_code(result) != 0)
		return psprintf("%d %s", result->reply.code, result->reply.text);
	if (result->outcome == MJ_SMTP_ACCEPTED)
		return pstrdup(result->reply.text);
	return mj_mail_words(result->message, result->detail);
}

/* The server log, as motionify_jobs.log_runs wants it. */
static void
log_outcome(const MjMailEnd *end, const char *reply, bool final)
{
	bool accepted = end->result.outcome == MJ_SMTP_ACCEPTED;

	if (mj_log_runs < (accepted ? MJ_LOG_ALL : MJ_LOG_FAILURES))
		return;
	ereport(LOG,
			(errmsg("mail %lld %s: %s", (long long) end->mail->mail_id,
					accepted  ? "sent" :
						final ? "failed, given up" :
								"failed, will be tried again",
					reply),
			 errhidestmt(true), errhidecontext(true)));
}

/* Whose run it was, for the history. */
static MjRunOwner
owner_of(const MjMailEnd *end)
{
	MjRunOwner owner = { 0 };

	owner.job = MJ_MAIL_JOB_NAME;
	owner.role = end->mail->role;
	owner.role_oid = end->mail->role_oid;
	return owner;
}

static void
log_history(const MjMailEnd *end, const char *reply)
{
	const MjSmtpResult *result = &end->result;
	MjRunOwner owner = owner_of(end);
	MjOutcome outcome = { 0 };

	outcome.rows_isnull = true;
	outcome.finished_at = end->ended_at;
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
	mj_history_insert(&end->run, &owner, &outcome);
}

/* How the mail ended with this result, NULL if it is tried again. */
static const char *
ending(const MjMailEnd *end)
{
	MjSmtpOutcome outcome = end->result.outcome;

	if (outcome == MJ_SMTP_ACCEPTED)
		return "sent";
	if (outcome != MJ_SMTP_PERMANENT &&
		end->run.failures + 1 < mj_mail_max_attempts)
		return NULL;
	return outcome == MJ_SMTP_UNCERTAIN ? "uncertain" : "failed";
}

/* When a mail that could not be offered is tried again. */
TimestampTz
mj_mail_retry_time(void)
{
	return mj_clock_now() + mj_mail_retry_delay_s * USECS_PER_SEC;
}

/* Take an ended run from the queue, or put it back for the next attempt. */
static bool
settle_run(MjMailEnd *end, bool final)
{
	TimestampTz run_at;

	if (final)
		return mj_queue_delete(end->run.run_id, end->run.worker_id);
	run_at = mj_mail_retry_time();
	end->run.failures++;
	mj_xact_wake(run_at, MJ_LANE_NONE);
	return mj_queue_put_back(&end->run, run_at, false);
}

/* A mail is not this process's any more. */
static void
log_taken(const MjMailEnd *end, const char *reply)
{
	ereport(
		LOG,
		(errmsg(
			"mail %lld was taken from this process while it was being sent: %s",
			(long long) end->mail->mail_id, reply)));
}

/* Record what became of a mail that was tried.  In a transaction. */
static void
record_end(MjMailEnd *end)
{
	MjMailState state = { 0 };

	state.run_id = end->run.run_id;
	state.ended_as = ending(end);
	state.counted = true;
	state.smtp_code = mj_mail_reply_code(&end->result);
	state.smtp_reply = reply_text(&end->result);
	state.at = end->ended_at;
	if (!settle_run(end, state.ended_as != NULL))
	{
		log_taken(end, state.smtp_reply);
		return;
	}
	mj_mail_update(&state);
	log_history(end, state.smtp_reply);
	log_outcome(end, state.smtp_reply, state.ended_as != NULL);
}

/*
 * Record that a mail was sent, but for its own row, which is for the caller to
 * write as the state says.  It is what becomes of most mails, and done without
 * statements.  False if it was taken away.  In a transaction.
 */
static bool
record_sent(const MjMailEnd *end, MjMailState *state)
{
	MjRunOwner owner = owner_of(end);
	MjOutcome outcome = { 0 };

	memset(state, 0, sizeof(*state));
	state->run_id = end->run.run_id;
	state->smtp_code = mj_mail_reply_code(&end->result);
	state->smtp_reply = reply_text(&end->result);
	state->at = end->ended_at;
	outcome.rows_isnull = true;
	outcome.finished_at = end->ended_at;
	outcome.status = "succeeded";
	outcome.result = state->smtp_reply;
	if (!mj_history_end_run(&end->run, &owner, &outcome))
	{
		log_taken(end, state->smtp_reply);
		return false;
	}
	log_outcome(end, state->smtp_reply, true);
	return true;
}

/*
 * Put a mail back that was not offered: as it was, at once if this process
 * was interrupted, later if it was in trouble.  In a transaction.
 */
static void
put_back(const MjMailTrouble *trouble, const MjMailEnd *end)
{
	bool in_trouble = trouble->sqlstate != 0;
	TimestampTz run_at = in_trouble ? mj_mail_retry_time() : end->run.run_at;
	MjMailState state = { 0 };

	if (!mj_queue_put_back(&end->run, run_at, !in_trouble))
		return;
	mj_xact_wake(run_at, in_trouble ? MJ_LANE_NONE : MJ_LANE_MAIL);
	if (!in_trouble)
		return;
	state.run_id = end->run.run_id;
	state.smtp_reply =
		mj_mail_words(trouble->problem.message, trouble->problem.detail);
	mj_mail_update(&state);
}

/*
 * Record what became of mails that this process has claimed, and put back those
 * that were not offered: trouble says why, with sqlstate 0 if the process was
 * interrupted.  In a transaction that the caller commits, durably, with
 * interrupts held off.
 */
void
mj_mail_record(MjMailEnd *const *ends, int count, const MjMailTrouble *trouble)
{
	MjMailState *sent = palloc(Max(count, 1) * sizeof(MjMailState));
	int nsent = 0;
	int i;

	for (i = 0; i < count; i++)
	{
		if (!ends[i]->offered)
			put_back(trouble, ends[i]);
		else if (ends[i]->result.outcome != MJ_SMTP_ACCEPTED)
			record_end(ends[i]);
		else if (record_sent(ends[i], &sent[nsent]))
			nsent++;
	}
	mj_mail_update_sent(sent, nsent);
}
