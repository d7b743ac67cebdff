/*-------------------------------------------------------------------------
 *
 * mail_check.c
 *	  The check of mail, step by step, in the caller's process.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"
#include "mail_check.h"
#include "mail_content.h"

#define TEST_SUBJECT "Test mail of motionify_jobs"
#define TEST_BODY \
	"This is a test mail.  It was sent by jobs.check_mail(), and needs no answer."

/* Are the settings usable?  The first step. */
static bool
check_settings(MjMailStep *step)
{
	MjMailTrouble trouble;
	const MjProblem *problem = &trouble.problem;

	step->name = "settings";
	step->ok = mj_mailer_check_settings(&trouble);
	if (step->ok)
		step->detail = mj_session_describe_settings();
	else
		step->detail =
			mj_mail_words(problem->message,
						  *problem->hint ? problem->hint : problem->detail);
	return step->ok;
}

/*
 * Open a session with where mail goes, and leave; the trouble says how it
 * went.  Needs no transaction.
 */
void
mj_mail_check_try(MjMailTrouble *trouble)
{
	MjMailSession session = { 0 };

	PG_TRY();
	{
		if (mj_session_open(&session, trouble))
			mj_session_quit(&session);
	}
	PG_CATCH();
	{
		mj_session_close(&session);
		PG_RE_THROW();
	}
	PG_END_TRY();
	mj_session_close(&session);
}

/* Make a test mail.  False with a problem if there is no sender, for one. */
static bool
draft_test_mail(const char *recipient, const char **message_id,
				MjMailDraft *draft, MjProblem *problem)
{
	TimestampTz now = mj_clock_now();
	MjMail mail = { 0 };
	MjMailContent *content;

	mail.recipient = recipient;
	mail.subject = TEST_SUBJECT;
	mail.body_text = TEST_BODY;
	mail.headers_isnull = true;
	*message_id = mj_mail_message_id(0, mj_mail_from);
	mail.message_id = *message_id;
	if (!mj_mail_check(&mail, now, problem))
		return false;
	content = mj_mail_content(&mail, now, true, problem);
	return content != NULL && mj_mail_draft(content, draft, problem);
}

/* Send a test mail over the open session.  The last step. */
static void
send_test_mail(MjMailSession *session, const char *recipient, MjMailStep *step)
{
	const char *message_id;
	MjMailDraft draft;
	MjProblem problem;
	MjSmtpResult result;

	step->name = "mail";
	step->ok = false;
	if (!draft_test_mail(recipient, &message_id, &draft, &problem))
	{
		step->detail = mj_mail_words(problem.message, problem.detail);
		return;
	}
	mj_session_send(session, &draft, message_id, &result);
	step->ok = result.outcome == MJ_SMTP_ACCEPTED;
	if (!step->ok)
		step->detail = mj_mail_words(result.message, result.detail);
	else if (result.reply.code != 0)
		step->detail =
			psprintf("accepted: %d %s", result.reply.code, result.reply.text);
	else
		step->detail = pstrdup(result.reply.text);
}

/* The steps that use the network; returns how many were taken. */
static int
check_session(MjMailSession *session, const char *recipient, MjMailStep *steps)
{
	int n = mj_session_check(session, steps);

	if (!steps[n - 1].ok)
		return n;
	if (recipient != NULL)
		send_test_mail(session, recipient, &steps[n++]);
	mj_session_quit(session);
	return n;
}

/*
 * Check mail in steps, up to the one that fails: settings, connect, TLS, AUTH
 * (or the directory), and, with a recipient, a test mail.  Fills
 * steps[MJ_MAIL_STEPS] and returns how many.  Raises nothing of what a step
 * finds, only interrupts.  Runs in the caller's transaction, which is open
 * meanwhile: a check by hand.
 */
int
mj_mail_check_steps(const char *recipient, MjMailStep *steps)
{
	MjMailSession session = { 0 };
	volatile int n = 1;

	if (!check_settings(&steps[0]))
		return n;
	PG_TRY();
	{
		n += check_session(&session, recipient, steps + 1);
	}
	PG_FINALLY();
	{
		mj_session_close(&session);
	}
	PG_END_TRY();
	CHECK_FOR_INTERRUPTS();
	return n;
}
