/*-------------------------------------------------------------------------
 *
 * api_outbox.c
 *	  The SQL functions on what becomes of mail: resend, suppress, unsuppress,
 *	  resume_mail, mail_server_id.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access.h"
#include "address.h"
#include "api_mail.h"
#include "argument.h"
#include "clock.h"
#include "guc.h"
#include "mail_content.h"
#include "mail_end_store.h"
#include "mail_record.h"
#include "mail_session.h"
#include "mail_store.h"
#include "mime.h"
#include "queue_store.h"
#include "shmem.h"
#include "smtp_verdict.h"
#include "suppression_store.h"
#include "flow_store.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_resend);
PG_FUNCTION_INFO_V1(mj_api_suppress);
PG_FUNCTION_INFO_V1(mj_api_unsuppress);
PG_FUNCTION_INFO_V1(mj_api_resume_mail);
PG_FUNCTION_INFO_V1(mj_api_mail_server_id);

/* ------------------------------------------------------------------------
 * Mails
 * ------------------------------------------------------------------------
 */

static void
require_operator(const char *what)
{
	if (!mj_access_is_operator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errhint("It takes level operator.")));
}

/* Send a mail that has ended again. */
static bool
reopen(int64 mail_id, int64 run_id, bool was_sent)
{
	const char *message_id = NULL;
	MjMail mail;

	(void) mj_mail_load(&run_id, 1, &mail);
	if (!mj_mail_suppress(&mail))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("all recipients of mail " INT64_FORMAT
						" are suppressed",
						mail_id),
				 errhint("jobs.unsuppress() has mail sent to them again.")));
	if (was_sent)
		message_id =
			mj_mail_message_id(mail_id,
							   mail.sender ? mail.sender : mj_mail_from);
	if (!mj_mail_reopen(mail_id, message_id, mj_clock_now()))
		return false;
	mj_xact_ready_anywhere();
	mj_xact_wake(0, MJ_LANE_MAIL);
	return true;
}

/* Have a mail that waits to be tried again tried now. */
static bool
hasten(int64 run_id)
{
	if (!mj_queue_hasten(run_id, mj_clock_now()))
		return false;
	mj_xact_wake(0, MJ_LANE_NONE);
	return true;
}

/*
 * jobs.resend(mail_id) returns boolean: a mail that has ended is sent again, at
 * the caller's commit, with the same Message-ID unless it was sent; one that
 * waits to be tried again is tried now.  False when it is under way anyway.
 * Raises 22004, 42501, 42704, 55000.
 */
Datum
mj_api_resend(PG_FUNCTION_ARGS)
{
	int64 mail_id;
	int64 run_id;
	const char *ended_as;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("mail id must not be null")));
	PreventCommandIfReadOnly("jobs.resend()");
	require_operator("send mail again");
	mail_id = PG_GETARG_INT64(0);
	if (!mj_mail_find_end(mail_id, &run_id, &ended_as))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("mail " INT64_FORMAT " does not exist", mail_id),
				 errhint("The view jobs.outbox lists them.")));
	if (ended_as == NULL)
		PG_RETURN_BOOL(hasten(run_id));
	PG_RETURN_BOOL(reopen(mail_id, run_id, strcmp(ended_as, "sent") == 0));
}

/* ------------------------------------------------------------------------
 * Suppression
 * ------------------------------------------------------------------------
 */

/* The address that is the first argument, folded; raises 22004, 22023. */
static char *
take_address(FunctionCallInfo fcinfo)
{
	char *folded = palloc(MJ_MIME_MAX_ADDRESS + 1);
	char *address;
	MjMailbox mailbox;
	MjProblem problem = { 0 };

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("address must not be null")));
	address = mj_argument_text(fcinfo, 0);
	address = pg_server_to_any(address, strlen(address), PG_UTF8);
	if (!mj_mime_parse_mailbox("address", address, &mailbox, &problem))
		mj_mail_raise(ERRCODE_INVALID_PARAMETER_VALUE, &problem);
	mj_address_fold(mailbox.address, folded, MJ_MIME_MAX_ADDRESS + 1);
	return folded;
}

/*
 * jobs.suppress(address, reason) returns boolean: nothing is sent to an address
 * any more.  False if that was so already; its reason stays.  Raises 22004,
 * 22023.
 */
Datum
mj_api_suppress(PG_FUNCTION_ARGS)
{
	MjSuppression entry = { 0 };

	PreventCommandIfReadOnly("jobs.suppress()");
	entry.address = take_address(fcinfo);
	entry.role = GetUserNameFromId(GetUserId(), false);
	entry.reason = PG_ARGISNULL(1) ?
		psprintf("suppressed by role \"%s\"", entry.role) :
		mj_argument_text(fcinfo, 1);
	entry.since = mj_clock_now();
	PG_RETURN_BOOL(mj_suppression_add(&entry));
}

/*
 * jobs.unsuppress(address) returns boolean: mail is sent to an address again.
 * False if it was not suppressed.  Raises 22004, 22023.
 */
Datum
mj_api_unsuppress(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("jobs.unsuppress()");
	PG_RETURN_BOOL(mj_suppression_remove(take_address(fcinfo)));
}

/* ------------------------------------------------------------------------
 * The transport
 * ------------------------------------------------------------------------
 */

/*
 * jobs.resume_mail() returns boolean: mail that waits because none could be
 * sent is tried at once, whatever becomes of the caller; the scheduler sees to
 * it.  False if nothing is in the way.  Raises 42501, 55000.
 */
Datum
mj_api_resume_mail(PG_FUNCTION_ARGS)
{
	MjMailFlow flow;

	PreventCommandDuringRecovery("jobs.resume_mail()");
	require_operator("resume mail");
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	mj_flow_read(&flow);
	if (flow.state == MJ_FLOW_RUNNING)
		PG_RETURN_BOOL(false);
	mj_database_resume_mail(MyDatabaseId);
	PG_RETURN_BOOL(true);
}

/*
 * Is mail being delivered?  For jobs.doctor(): detail and hint are palloc'ed,
 * the hint NULL if there is none.
 */
bool
mj_mail_flow_is_well(char **detail, char **hint)
{
	static const char *const words[] = { "as usual", "slowed", "paused" };
	MjMailFlow flow;

	*hint = NULL;
	mj_flow_read(&flow);
	if (flow.state == MJ_FLOW_RUNNING)
	{
		*detail = pstrdup("Nothing keeps mail from being sent.");
		return true;
	}
	*detail =
		psprintf("Mail is %s since %s, and tried again at %s: %s",
				 words[flow.state], pstrdup(timestamptz_to_str(flow.since)),
				 pstrdup(timestamptz_to_str(flow.next_try_at)),
				 flow.reason ? flow.reason : "");
	*hint = pstrdup(
		"jobs.check_mail() shows which step fails; jobs.resume_mail() has it tried at once.");
	return false;
}

/* jobs.mail_server_id(reply text) returns text: NULL if there is none. */
Datum
mj_api_mail_server_id(PG_FUNCTION_ARGS)
{
	char id[MJ_SMTP_MAX_SERVER_ID];

	if (!mj_smtp_server_id(text_to_cstring(PG_GETARG_TEXT_PP(0)), id,
						   sizeof(id)))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(id));
}
