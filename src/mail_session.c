/*-------------------------------------------------------------------------
 *
 * mail_session.c
 *	  A session with where mail goes, as the settings say: an SMTP server or a
 *	  directory.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "guc.h"
#include "mail_session.h"
#include "mailfile.h"
#include "secret_file.h"
#include "smtp_verdict.h"
#include "worker.h"

#define PASSWORD_FILE "SMTP password file"
#define MAX_PASSWORD 4096 /* bytes; a bearer token may be long */

/* Who must stop waits so long for the reply to a final dot. */
#define STOP_GRACE_MS 50

/* ------------------------------------------------------------------------
 * Trouble
 * ------------------------------------------------------------------------
 */

static bool refuse(MjMailTrouble *trouble, int sqlstate, const char *hint,
				   const char *fmt, ...) pg_attribute_printf(4, 5);

/* Fill in a trouble without detail, and return false.  hint may be NULL. */
static bool
refuse(MjMailTrouble *trouble, int sqlstate, const char *hint, const char *fmt,
	   ...)
{
	MjProblem *problem = &trouble->problem;
	va_list args;

	memset(trouble, 0, sizeof(*trouble));
	trouble->sqlstate = sqlstate;
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	if (hint)
		strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/* The SQLSTATE of what became of a message or a connection. */
int
mj_sqlstate_from_result(const MjSmtpResult *result)
{
	switch (result->error)
	{
		case MJ_SMTP_ERR_CONFIG:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case MJ_SMTP_ERR_CONNECT:
		case MJ_SMTP_ERR_TLS:
			return ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
		case MJ_SMTP_ERR_AUTH:
		case MJ_SMTP_ERR_REFUSED:
			return ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION;
		case MJ_SMTP_ERR_PROTOCOL:
			return ERRCODE_PROTOCOL_VIOLATION;
		case MJ_SMTP_ERR_INTERRUPTED:
			return ERRCODE_QUERY_CANCELED;
		case MJ_SMTP_ERR_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		default:
			return ERRCODE_CONNECTION_FAILURE;
	}
}

/* Why a connection could not be made, or was of no use. */
void
mj_trouble_from_result(const MjSmtpResult *result, MjMailTrouble *trouble)
{
	memset(trouble, 0, sizeof(*trouble));
	trouble->sqlstate = mj_sqlstate_from_result(result);
	trouble->throttled = mj_smtp_is_throttled(result);
	strlcpy(trouble->problem.message, result->message,
			sizeof(trouble->problem.message));
	strlcpy(trouble->problem.detail, result->detail,
			sizeof(trouble->problem.detail));
	strlcpy(
		trouble->problem.hint,
		"jobs.check_mail() shows which step fails; mail stays queued until then.",
		sizeof(trouble->problem.hint));
}

/* Raise what is wrong with a mail, or with the settings of mail. */
void
mj_mail_raise(int sqlstate, const MjProblem *problem)
{
	ereport(ERROR,
			(errcode(sqlstate), errmsg("%s", problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}

/* What is wrong, and more of it unless it is empty: one line, palloc'ed. */
char *
mj_mail_words(const char *message, const char *more)
{
	return psprintf("%s%s%s", message, *more ? ": " : "", more);
}

/* ------------------------------------------------------------------------
 * Settings
 * ------------------------------------------------------------------------
 */

/* Does mail go to a directory? */
bool
mj_session_to_directory(void)
{
	return pg_strncasecmp(mj_smtp_url, "file:", 5) == 0;
}

/* Take what the password file says, less one line end. */
static bool
take_password(char *password, size_t length, MjMailTrouble *trouble)
{
	if (length > 0 && password[length - 1] == '\n')
		length--;
	if (length > 0 && password[length - 1] == '\r')
		length--;
	password[length] = '\0';
	if (length == 0 || length >= MAX_PASSWORD - 2 ||
		strlen(password) != length || strpbrk(password, "\r\n") != NULL)
		return refuse(trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					  PASSWORD_FILE " \"%s\" is not one line with a password",
					  mj_smtp_password_file);
	return true;
}

/*
 * Read the password into password[MAX_PASSWORD + 1]; empty without a file.
 * The caller wipes it.
 */
static bool
read_password(char *password, MjMailTrouble *trouble)
{
	MjProblem problem;
	size_t length;
	int sqlstate;

	password[0] = '\0';
	if (*mj_smtp_password_file == '\0')
		return true;
	sqlstate = mj_secret_file_read(PASSWORD_FILE, mj_smtp_password_file,
								   password, MAX_PASSWORD, &length, &problem);
	if (sqlstate != 0)
		return refuse(trouble, sqlstate, problem.hint, "%s", problem.message);
	return take_password(password, length, trouble);
}

/* Is plain text allowed where it is asked for? */
static bool
check_tls(const MjSmtpUrl *url, MjMailTrouble *trouble)
{
	if (url->tls || mj_smtp_tls != MJ_TLS_OFF || mj_smtp_allow_plaintext ||
		(url->loopback && *mj_smtp_proxy == '\0'))
		return true;
	return refuse(
		trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		"Set motionify_jobs.smtp_tls to \"require\", or motionify_jobs.smtp_allow_plaintext to on if that network is yours.",
		"SMTP without TLS is only allowed to the local host");
}

static bool
refuse_setting(MjMailTrouble *trouble, const MjProblem *problem)
{
	refuse(trouble, ERRCODE_INVALID_PARAMETER_VALUE, NULL,
		   "motionify_jobs.smtp_url cannot be used: %s", problem->message);
	strlcpy(trouble->problem.detail, problem->detail,
			sizeof(trouble->problem.detail));
	strlcpy(trouble->problem.hint, problem->hint,
			sizeof(trouble->problem.hint));
	return false;
}

/*
 * The configuration of a connection.  Its password lies in password, which
 * the caller wipes, whatever is returned.
 */
static bool
make_config(MjSmtpConfig *config, char *password, MjMailTrouble *trouble)
{
	MjSmtpUrl url;
	MjProblem problem;

	memset(config, 0, sizeof(*config));
	if (!mj_smtp_parse_url(mj_smtp_url, &url, &problem))
		return refuse_setting(trouble, &problem);
	if (!check_tls(&url, trouble) || !read_password(password, trouble))
		return false;
	config->url = mj_smtp_url;
	config->user = mj_smtp_user;
	config->password = password;
	config->tls =
		mj_smtp_tls == MJ_TLS_OFF ? MJ_SMTP_TLS_OFF : MJ_SMTP_TLS_REQUIRE;
	config->ca_file = mj_smtp_ca_file;
	config->timeout_ms = mj_smtp_timeout_s * 1000;
	config->bearer = mj_smtp_auth == MJ_AUTH_XOAUTH2;
	config->proxy = mj_smtp_proxy;
	if (!mj_smtp_check_config(config, &problem))
		return refuse(
			trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			"See motionify_jobs.smtp_user and motionify_jobs.smtp_password_file.",
			"%s", problem.message);
	return true;
}

/* Has anybody said where mail goes?  False with the trouble if not. */
bool
mj_mailer_check_configured(MjMailTrouble *trouble)
{
	if (mj_smtp_url != NULL && *mj_smtp_url != '\0')
		return true;
	return refuse(
		trouble, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		"Set motionify_jobs.smtp_url, as in ALTER DATABASE ... SET motionify_jobs.smtp_url = 'smtp://mail.example.com:587', and call jobs.reload().",
		"SMTP is not configured");
}

/* The directory that mail goes to, in directory[MAXPGPATH]. */
bool
mj_session_open_directory(char *directory, MjMailTrouble *trouble)
{
	MjProblem problem;

	return mj_mailfile_open(mj_smtp_url, DataDir, directory, &problem) ||
		refuse_setting(trouble, &problem);
}

/* Check what can be checked of the settings without connecting. */
bool
mj_session_check_settings(MjMailTrouble *trouble)
{
	char password[MAX_PASSWORD + 1];
	char directory[MAXPGPATH];
	MjSmtpConfig config;
	bool ok;

	memset(trouble, 0, sizeof(*trouble));
	if (!mj_mailer_check_configured(trouble))
		return false;
	if (mj_session_to_directory())
		return mj_session_open_directory(directory, trouble);
	ok = make_config(&config, password, trouble);
	explicit_bzero(password, sizeof(password));
	return ok;
}

/* The settings in words, palloc'ed; call when they are known to be usable. */
char *
mj_session_describe_settings(void)
{
	MjSmtpUrl url;
	MjProblem problem;

	if (mj_session_to_directory())
		return psprintf("mail is written to %s", mj_smtp_url);
	(void) mj_smtp_parse_url(mj_smtp_url, &url, &problem);
	return psprintf("%s://%s:%d, %s, %s%s", url.tls ? "smtps" : "smtp",
					url.host, url.port,
					url.tls || mj_smtp_tls != MJ_TLS_OFF ? "TLS required" :
														   "plain text",
					*mj_smtp_user ? "user " : "no user", mj_smtp_user);
}

/* Where mail goes: host and port, or the directory; NULL: nowhere. */
char *
mj_session_host(void)
{
	MjSmtpUrl url;
	MjProblem problem;

	if (mj_smtp_url == NULL || *mj_smtp_url == '\0')
		return NULL;
	if (mj_session_to_directory())
		return pstrdup(mj_smtp_url);
	if (!mj_smtp_parse_url(mj_smtp_url, &url, &problem))
		return NULL;
	return psprintf("%s:%d", url.host, url.port);
}

/* ------------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------------
 */

/* Is this process to stop what it does?  An executor also when it must leave. */
bool
mj_session_must_stop(bool is_worker)
{
	/* other backends wait for these, and they do not stop anything */
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier();
	return ProcDiePending || QueryCancelPending ||
		(is_worker && mj_worker_must_leave());
}

/* What is left of the grace of who must stop, in ms. */
static long
grace_left(MjMailSession *session)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	if (!session->stopping)
	{
		session->stopping = true;
		session->stopping_since = now;
	}
	if (session->smtp == NULL || !mj_smtp_in_doubt(session->smtp))
		return 0;
	INSTR_TIME_SUBTRACT(now, session->stopping_since);
	return STOP_GRACE_MS - (long) INSTR_TIME_GET_MILLISEC(now);
}

/* Wait for sockets, the latch, and the end of the postmaster. */
static int
wait_for_sockets(const MjSmtpFd *fds, int nfds, long timeout_ms)
{
	WaitEventSet *set = MJ_CREATE_WAIT_EVENT_SET(nfds + 2);
	WaitEvent event;
	int got;
	int i;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (i = 0; i < nfds; i++)
	{
		uint32 events = 0;

		if (fds[i].events & MJ_SMTP_READ)
			events |= WL_SOCKET_READABLE;
		if (fds[i].events & MJ_SMTP_WRITE)
			events |= WL_SOCKET_WRITEABLE;
		if (events)
			AddWaitEventToSet(set, events, fds[i].fd, NULL, NULL);
	}
	got = WaitEventSetWait(set, timeout_ms, &event, 1, PG_WAIT_EXTENSION);
	FreeWaitEventSet(set);
	if (got > 0 && (event.events & WL_LATCH_SET))
		ResetLatch(MyLatch);
	return got;
}

/* The MjSmtpWait of all sessions. */
static int
session_wait(void *arg, const MjSmtpFd *fds, int nfds, long timeout_ms)
{
	MjMailSession *session = arg;
	long grace;

	if (!mj_session_must_stop(false))
		return wait_for_sockets(fds, nfds, timeout_ms);
	grace = grace_left(session);
	if (grace <= 0)
		return -1;
	/* early is harmless */
	(void) wait_for_sockets(fds, nfds, Min(timeout_ms, grace));
	return 1;
}

/* ------------------------------------------------------------------------
 * Sessions
 * ------------------------------------------------------------------------
 */

/*
 * Make a connection object.  The password lives in it until it is closed.  NULL
 * with the trouble.
 */
static MjSmtp *
new_connection(MjSmtpWait wait, void *arg, MjMailTrouble *trouble)
{
	char password[MAX_PASSWORD + 1];
	MjSmtpConfig config;
	MjSmtp *smtp = NULL;

	if (make_config(&config, password, trouble))
	{
		smtp = mj_smtp_new(&config, wait, arg);
		if (smtp == NULL)
			refuse(trouble, ERRCODE_OUT_OF_MEMORY, NULL,
				   "out of memory for an SMTP connection");
	}
	explicit_bzero(password, sizeof(password));
	return smtp;
}

/*
 * Begin to connect as the settings say; the caller goes on.  NULL with the
 * trouble if they are not usable.
 */
MjSmtp *
mj_session_connect(MjMailTrouble *trouble)
{
	MjSmtp *smtp = new_connection(NULL, NULL, trouble);

	if (smtp != NULL)
		mj_smtp_begin(smtp);
	return smtp;
}

/* The settings that matter for connections, as a string to compare; palloc'ed. */
char *
mj_session_settings(void)
{
	struct stat st = { 0 };

	if (*mj_smtp_password_file != '\0' && stat(mj_smtp_password_file, &st) != 0)
		st.st_size = -1;
	return psprintf("%s %s %s %d %d %d %s %d %s %d %lld %lld %lld %o",
					mj_smtp_url, mj_smtp_user, mj_smtp_password_file,
					mj_smtp_auth, mj_smtp_tls, mj_smtp_allow_plaintext,
					mj_smtp_ca_file, mj_smtp_timeout_s, mj_smtp_proxy,
					mj_smtp_max_connections, (long long) st.st_mtime,
					(long long) st.st_ino, (long long) st.st_size,
					(unsigned) st.st_mode);
}

/*
 * Open a session, anew if it was open.  False with the trouble, whose
 * sqlstate is that of a cancelled query if it was interrupted.
 */
bool
mj_session_open(MjMailSession *session, MjMailTrouble *trouble)
{
	MjSmtpResult result;

	mj_session_close(session);
	memset(trouble, 0, sizeof(*trouble));
	if (!mj_mailer_check_configured(trouble))
		return false;
	if (mj_session_to_directory())
	{
		session->in_directory =
			mj_session_open_directory(session->directory, trouble);
		return session->in_directory;
	}
	session->smtp = new_connection(session_wait, session, trouble);
	if (session->smtp == NULL)
		return false;
	if (mj_smtp_open(session->smtp, &result))
		return true;
	mj_trouble_from_result(&result, trouble);
	mj_session_close(session);
	return false;
}

/*
 * Open a session step by step; fills up to MJ_SMTP_STEPS steps, ending with
 * the one that failed, and returns their number.
 */
int
mj_session_check(MjMailSession *session, MjMailStep *steps)
{
	MjSmtpStep smtp_steps[MJ_SMTP_STEPS];
	MjSmtpResult result;
	MjMailTrouble trouble;
	int n;
	int i;

	if (!mj_session_to_directory())
		session->smtp = new_connection(session_wait, session, &trouble);
	if (session->smtp == NULL)
	{
		steps[0].name = mj_session_to_directory() ? "directory" : "connect";
		steps[0].ok =
			mj_session_to_directory() && mj_session_open(session, &trouble);
		steps[0].detail = steps[0].ok ?
			pstrdup(session->directory) :
			mj_mail_words(trouble.problem.message, trouble.problem.detail);
		return 1;
	}
	n = mj_smtp_check(session->smtp, smtp_steps, &result);
	for (i = 0; i < n; i++)
	{
		steps[i].name = smtp_steps[i].name;
		steps[i].ok = smtp_steps[i].ok;
		steps[i].detail = pstrdup(smtp_steps[i].detail);
	}
	return n;
}

/* Deliver into the directory.  What cannot be written may be tried again. */
void
mj_session_write(const char *directory, const MjMailDraft *draft,
				 const char *message_id, MjSmtpResult *result)
{
	char path[MAXPGPATH];
	MjProblem problem;

	memset(result, 0, sizeof(*result));
	result->recipient = MJ_SMTP_ABOUT_ALL;
	if (mj_mailfile_write(directory, message_id, draft->bytes.data,
						  draft->bytes.len, path, &problem))
	{
		result->outcome = MJ_SMTP_ACCEPTED;
		snprintf(result->reply.text, sizeof(result->reply.text),
				 "written to %.480s", path);
		return;
	}
	result->outcome = MJ_SMTP_TEMPORARY;
	result->error = MJ_SMTP_ERR_LOST;
	strlcpy(result->message, problem.message, sizeof(result->message));
	strlcpy(result->detail, problem.detail, sizeof(result->detail));
}

/* Send one mail over an open session; the result tells what became of it. */
void
mj_session_send(MjMailSession *session, const MjMailDraft *draft,
				const char *message_id, MjSmtpResult *result)
{
	if (session->in_directory)
		mj_session_write(session->directory, draft, message_id, result);
	else
		(void) mj_smtp_send(session->smtp, &draft->envelope, result);
}

/* Take leave politely, within a second. */
void
mj_session_quit(MjMailSession *session)
{
	if (session->smtp != NULL && !mj_session_must_stop(false))
		mj_smtp_quit(session->smtp);
}

/* Free everything, at once; in any state, again and again. */
void
mj_session_close(MjMailSession *session)
{
	mj_smtp_close(session->smtp);
	session->smtp = NULL;
	session->in_directory = false;
}
