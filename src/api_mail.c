/*-------------------------------------------------------------------------
 *
 * api_mail.c
 *	  The SQL functions of mail: send_mail, deliver_mail, check_mail.
 *
 * Who may call them is a matter of EXECUTE: nobody may by default, for a
 * database that sends anybody's mail is a relay.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "api_mail.h"
#include "api_message.h"
#include "argument.h"
#include "clock.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mail_check.h"
#include "mail_content.h"
#include "mail_record.h"
#include "mail_session.h"
#include "mail_store.h"
#include "mail_template.h"
#include "mailer.h"
#include "queue_store.h"
#include "shmem.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_send_mail);
PG_FUNCTION_INFO_V1(mj_api_deliver_mail);
PG_FUNCTION_INFO_V1(mj_api_check_mail);

#define DEFAULT_MAX_MAILS 50
#define MAX_MAX_MAILS 10000

/* Arguments of jobs.send_mail() */
enum
{
	ARG_RECIPIENT,
	ARG_SUBJECT,
	ARG_BODY_TEXT,
	ARG_BODY_HTML,
	ARG_SENDER,
	ARG_REPLY_TO,
	ARG_CC,
	ARG_BCC,
	ARG_HEADERS,
	ARG_SEND_AT,
	ARG_PRIORITY,
	ARG_SOURCE_KEY,
	ARG_ATTACHMENTS,
	ARG_UNSUBSCRIBE,
	ARG_TEMPLATE,
	ARG_DATA,
	ARG_EXPIRES_AT
};

/* ------------------------------------------------------------------------
 * What must be so
 * ------------------------------------------------------------------------
 */

/* Mail is sent by workers, which a server without preload does not have. */
static void
require_preload(void)
{
	if (mj_shmem_available())
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("motionify_jobs is not loaded by the server"),
		 errhint(
			 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
}

/* 55000 if nobody has said where mail goes. */
static void
require_configured(void)
{
	MjMailTrouble trouble;

	if (!mj_mailer_check_configured(&trouble))
		mj_mail_raise(trouble.sqlstate, &trouble.problem);
}

/* That, and whatever else is wrong with the settings. */
static void
require_settings(void)
{
	MjMailTrouble trouble;

	if (!mj_mailer_check_settings(&trouble))
		mj_mail_raise(trouble.sqlstate, &trouble.problem);
}

/* ------------------------------------------------------------------------
 * send_mail
 * ------------------------------------------------------------------------
 */

static void
require_value(bool given, const char *what)
{
	if (!given)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

/* Render from the template that is named what is not given. */
static void
take_template(FunctionCallInfo fcinfo, MjMail *mail)
{
	const char *name = mj_argument_text(fcinfo, ARG_TEMPLATE);
	const char **fields[] = { &mail->subject, &mail->body_text,
							  &mail->body_html };
	bool wanted[MJ_TEMPLATE_PARTS];
	char *rendered[MJ_TEMPLATE_PARTS];
	int i;

	if (name == NULL && !PG_ARGISNULL(ARG_DATA))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data is given without a template"),
				 errhint(
					 "Name the template that shows it: template => '...'.")));
	if (name == NULL)
		return;
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
		wanted[i] = *fields[i] == NULL;
	mj_template_render(name,
					   PG_ARGISNULL(ARG_DATA) ? NULL :
												PG_GETARG_JSONB_P(ARG_DATA),
					   wanted, rendered);
	for (i = 0; i < MJ_TEMPLATE_PARTS; i++)
		if (wanted[i])
			*fields[i] = rendered[i];
	if (mail->subject == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("mail template \"%s\" has no subject", name),
				 errhint("Give subject, or a template that has one.")));
}

/* The content of the arguments, not checked yet. */
static void
take_arguments(FunctionCallInfo fcinfo, MjMail *mail)
{
	memset(mail, 0, sizeof(MjMail));
	mail->recipient = mj_argument_text(fcinfo, ARG_RECIPIENT);
	mail->subject = mj_argument_text(fcinfo, ARG_SUBJECT);
	mail->body_text = mj_argument_text(fcinfo, ARG_BODY_TEXT);
	mail->body_html = mj_argument_text(fcinfo, ARG_BODY_HTML);
	mail->sender = mj_argument_text(fcinfo, ARG_SENDER);
	mail->reply_to = mj_argument_text(fcinfo, ARG_REPLY_TO);
	mail->cc = mj_argument_text(fcinfo, ARG_CC);
	mail->bcc = mj_argument_text(fcinfo, ARG_BCC);
	mail->source_key = mj_argument_text(fcinfo, ARG_SOURCE_KEY);
	mail->unsubscribe = mj_argument_text(fcinfo, ARG_UNSUBSCRIBE);
	if (!PG_ARGISNULL(ARG_ATTACHMENTS))
		mj_message_take_attachments(PG_GETARG_DATUM(ARG_ATTACHMENTS), mail);
	mail->headers_isnull = PG_ARGISNULL(ARG_HEADERS);
	if (!mail->headers_isnull)
		mail->headers = PG_GETARG_DATUM(ARG_HEADERS);
	take_template(fcinfo, mail);
	mail->role = GetUserNameFromId(GetUserId(), false);
	mail->role_oid = GetUserId();
	mail->created_at = mj_clock_now();
}

/* When it is to be sent: not before now. */
static TimestampTz
take_send_at(FunctionCallInfo fcinfo, TimestampTz now)
{
	TimestampTz send_at;

	if (PG_ARGISNULL(ARG_SEND_AT))
		return now;
	send_at = PG_GETARG_TIMESTAMPTZ(ARG_SEND_AT);
	if (TIMESTAMP_NOT_FINITE(send_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("send_at must be finite")));
	return Max(send_at, now);
}

/* When it is too late to send it; 0: never. */
static TimestampTz
take_expires_at(FunctionCallInfo fcinfo)
{
	TimestampTz expires_at = mj_argument_instant(fcinfo, ARG_EXPIRES_AT);

	if (TIMESTAMP_NOT_FINITE(expires_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_at must be finite")));
	return expires_at;
}

/* Raise what is wrong with a mail, 22004, 22023 or 55000. */
static void
check_mail(const MjMail *mail, TimestampTz send_at)
{
	MjProblem problem;

	require_value(mail->recipient != NULL, "recipient");
	require_value(mail->subject != NULL, "subject");
	require_value(mail->body_text != NULL || mail->body_html != NULL,
				  "one of body_text and body_html");
	if (mail->source_key != NULL && *mail->source_key == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source_key must not be empty")));
	if (mail->sender == NULL && *mj_mail_from == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mail has no sender"),
				 errhint("Give sender, or set motionify_jobs.mail_from.")));
	if (!mj_mail_check(mail, send_at, &problem))
		mj_mail_raise(ERRCODE_INVALID_PARAMETER_VALUE, &problem);
}

/* The run of a mail: when it is due, and until when. */
static void
take_run(FunctionCallInfo fcinfo, const MjMail *mail, MjRun *run)
{
	memset(run, 0, sizeof(MjRun));
	run->lane = MJ_LANE_MAIL;
	run->priority =
		PG_ARGISNULL(ARG_PRIORITY) ? 0 : PG_GETARG_INT32(ARG_PRIORITY);
	run->run_at = take_send_at(fcinfo, mail->created_at);
	run->due_at = run->run_at;
	run->expires_at = take_expires_at(fcinfo);
	run->trigger = "queue";
	run->args_isnull = true;
}

/*
 * Queue the run of a mail, and wake who sends it at commit.  One that has
 * expired waits, so that nobody sends it before the scheduler ends it.
 */
static void
queue_run(const MjMail *mail, MjRun *run)
{
	bool late = run->expires_at != 0 && run->expires_at <= mail->created_at;
	bool now = run->run_at <= mail->created_at && !late;

	run->state = now ? "ready" : "waiting";
	(void) mj_queue_insert(run);
	mj_xact_wake(late ? 0 : run->run_at, now ? MJ_LANE_MAIL : MJ_LANE_NONE);
	if (run->expires_at != 0)
		mj_xact_wake(run->expires_at, MJ_LANE_NONE);
}

/* A mail that has nobody to go to is kept, and has ended. */
static void
end_suppressed(const MjMail *mail, const MjRun *run)
{
	MjRunOwner owner = { 0 };
	MjOutcome outcome = { 0 };

	owner.job = MJ_MAIL_JOB_NAME;
	owner.role = mail->role;
	owner.role_oid = mail->role_oid;
	outcome.status = "skipped";
	outcome.rows_isnull = true;
	outcome.error = MJ_MAIL_SUPPRESSED;
	outcome.finished_at = mail->created_at;
	mj_mail_end(mail->run_id, "suppressed", 0, MJ_MAIL_SUPPRESSED);
	(void) mj_history_insert(run, &owner, &outcome);
}

/*
 * jobs.send_mail(...) returns bigint: queue a mail, in the caller's
 * transaction; its mail_id, or that of the mail that has its source_key.
 */
Datum
mj_api_send_mail(PG_FUNCTION_ARGS)
{
	MjMail mail;
	MjRun run;
	int64 existing;

	PreventCommandIfReadOnly("jobs.send_mail()");
	require_preload();
	require_configured();
	take_arguments(fcinfo, &mail);
	take_run(fcinfo, &mail, &run);
	check_mail(&mail, run.run_at);
	if (mail.source_key != NULL &&
		(existing = mj_mail_find_source_key(mail.role_oid, mail.source_key)) !=
			0)
		PG_RETURN_INT64(existing);
	mail.mail_id = mj_mail_next_id();
	mail.run_id = run.run_id = mj_queue_next_run_id();
	mail.message_id =
		mj_mail_message_id(mail.mail_id,
						   mail.sender ? mail.sender : mj_mail_from);
	if (!mj_mail_insert(&mail))
		PG_RETURN_INT64(
			mj_mail_find_source_key(mail.role_oid, mail.source_key));
	if (mj_mail_suppress(&mail))
		queue_run(&mail, &run);
	else
		end_suppressed(&mail, &run);
	PG_RETURN_INT64(mail.mail_id);
}

/* ------------------------------------------------------------------------
 * deliver_mail
 * ------------------------------------------------------------------------
 */

/* 2D000 unless this call may commit. */
static void
require_nonatomic(FunctionCallInfo fcinfo)
{
	if (mj_xact_may_commit(fcinfo))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
		 errmsg("jobs.deliver_mail() cannot be called inside a transaction"),
		 errdetail(
			 "It commits, so that nothing is held while the network is used."),
		 errhint(
			 "CALL it outside of BEGIN ... COMMIT, of functions, and of blocks with EXCEPTION.")));
}

/* 55000 if this database must not send. */
static void
require_sending(void)
{
	PreventCommandDuringRecovery("jobs.deliver_mail()");
	require_preload();
	if (!mj_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("motionify_jobs is switched off on this server"),
				 errhint("Set motionify_jobs.enabled to on.")));
	if (!mj_instance_is_own())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this database is a copy, and sends no mail"),
			 errhint(
				 "Call jobs.adopt() if it is to take the original's place.")));
	require_settings();
}

static int
take_max_mails(FunctionCallInfo fcinfo)
{
	int max_mails = PG_ARGISNULL(0) ? DEFAULT_MAX_MAILS : PG_GETARG_INT32(0);

	if (max_mails < 0 || max_mails > MAX_MAX_MAILS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_mails must be between 0 and %d", MAX_MAX_MAILS)));
	return max_mails;
}

/* Be a worker while mail is delivered, unless this process is one. */
static bool
enter_guest(void)
{
	if (mj_my_slot != NULL)
		return false;
	if (mj_slot_acquire_guest() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sessions are delivering mail"),
				 errhint("Mail is sent without jobs.deliver_mail(), too.")));
	return true;
}

/* Deliver as a worker, connected to SPI. */
static int64
deliver(int max_mails)
{
	bool is_guest = enter_guest();
	volatile int64 accepted = 0;

	PG_TRY();
	{
		if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
			elog(ERROR, "could not connect to SPI");
		accepted = mj_mailer_deliver(mj_my_slot->worker_id, max_mails);
		SPI_finish();
	}
	PG_FINALLY();
	{
		if (is_guest)
			mj_slot_release_guest();
	}
	PG_END_TRY();
	return accepted;
}

/*
 * CALL jobs.deliver_mail(max_mails, accepted): send what is due now, and wait
 * for it.  Commits.
 */
Datum
mj_api_deliver_mail(PG_FUNCTION_ARGS)
{
	int max_mails;
	TupleDesc tupdesc;
	Datum accepted;
	bool isnull = false;

	require_nonatomic(fcinfo);
	max_mails = take_max_mails(fcinfo);
	require_sending();
	accepted = Int32GetDatum((int32) deliver(max_mails));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), &accepted, &isnull)));
}

/* ------------------------------------------------------------------------
 * check_mail
 * ------------------------------------------------------------------------
 */

/* jobs.check_mail(recipient) returns table (step, ok, detail) */
Datum
mj_api_check_mail(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MjMailStep steps[MJ_MAIL_STEPS];
	int n;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	n = mj_mail_check_steps(mj_argument_text(fcinfo, 0), steps);
	for (i = 0; i < n; i++)
	{
		Datum values[3];
		bool nulls[3] = { false };

		values[0] = CStringGetTextDatum(steps[i].name);
		values[1] = BoolGetDatum(steps[i].ok);
		values[2] = CStringGetTextDatum(steps[i].detail);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}

/*
 * Is mail set up, and the server reachable?  For jobs.doctor(): detail and
 * hint are palloc'ed, the hint NULL if there is none.
 */
bool
mj_mail_probe(char **detail, char **hint)
{
	MjMailTrouble trouble;
	MjMailStep steps[MJ_MAIL_STEPS];
	int n;

	*hint = NULL;
	if (!mj_mailer_check_settings(&trouble))
	{
		*detail = pstrdup(trouble.problem.message);
		if (trouble.problem.hint[0])
			*hint = pstrdup(trouble.problem.hint);
		return false;
	}
	n = mj_mail_check_steps(NULL, steps);
	if (steps[n - 1].ok)
	{
		*detail = steps[0].detail;
		return true;
	}
	*detail = psprintf("%s: %s", steps[n - 1].name, steps[n - 1].detail);
	*hint = pstrdup("SELECT * FROM jobs.check_mail() shows every step.");
	return false;
}
