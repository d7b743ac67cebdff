/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings motionify_jobs.*.
 *
 * Settings that can differ by database are PGC_SUSET: a superuser sets them
 * with ALTER DATABASE, and workers read them when they start.  The others are
 * PGC_SIGHUP.  No value holds a secret.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "alert_channel.h"
#include "compat.h"
#include "dkim.h"
#include "guc.h"
#include "host_pattern.h"
#include "http.h"
#include "override.h"
#include "smtp.h"

bool mj_enabled = true;
char *mj_databases = NULL;
int mj_max_workers = 4;
int mj_max_databases = 256;
int mj_linger_s = 120;
int mj_misfire_grace_s = 60;
int mj_log_runs = MJ_LOG_CHANGES;
char *mj_instance = NULL;
bool mj_allow_superuser_jobs = true;

char *mj_timezone = NULL;
char *mj_disabled_groups = NULL;
char *mj_schedule_override = NULL;
int mj_catch_up_limit = 1000;
static char *history_retention = NULL;
int64 mj_history_retention_us = 0;
int mj_max_result_length_kb = 8;
char *mj_smtp_url = NULL;
char *mj_smtp_user = NULL;
char *mj_smtp_password_file = NULL;
int mj_smtp_tls = MJ_TLS_REQUIRE;
bool mj_smtp_allow_plaintext = false;
char *mj_smtp_ca_file = NULL;
int mj_smtp_timeout_s = 30;
int mj_smtp_auth = MJ_AUTH_PASSWORD;
char *mj_smtp_proxy = NULL;
int mj_smtp_max_connections = 8;
double mj_smtp_rate = 0;
double mj_smtp_domain_rate = 0;
char *mj_http_allowed_hosts = NULL;
char *mj_http_secrets_file = NULL;
char *mj_http_ca_file = NULL;
int mj_http_timeout_s = 30;
int mj_http_connect_timeout_s = 10;
int mj_http_max_connections = 50;
int mj_http_max_response_kb = 1024;
char *mj_ping_url = NULL;
char *mj_mail_from = NULL;
char *mj_mail_reply_to = NULL;
char *mj_mail_redirect_to = NULL;
int mj_mail_max_size_kb = 25 * 1024;
char *mj_dkim_key_file = NULL;
char *mj_dkim_selector = NULL;
char *mj_dkim_domain = NULL;
int mj_mail_max_attempts = 3;
int mj_mail_retry_delay_s = 120;
int mj_mail_on_uncertain = MJ_UNCERTAIN_RESEND;
char *mj_alert_channels = NULL;

static const struct config_enum_entry log_runs_options[] = {
	{ "none", MJ_LOG_NONE, false },
	{ "failures", MJ_LOG_FAILURES, false },
	{ "changes", MJ_LOG_CHANGES, false },
	{ "all", MJ_LOG_ALL, false },
	{ NULL, 0, false }
};

static const struct config_enum_entry tls_options[] = {
	{ "require", MJ_TLS_REQUIRE, false },
	{ "off", MJ_TLS_OFF, false },
	{ NULL, 0, false }
};

static const struct config_enum_entry uncertain_options[] = {
	{ "resend", MJ_UNCERTAIN_RESEND, false },
	{ "hold", MJ_UNCERTAIN_HOLD, false },
	{ NULL, 0, false }
};

static const struct config_enum_entry auth_options[] = {
	{ "password", MJ_AUTH_PASSWORD, false },
	{ "xoauth2", MJ_AUTH_XOAUTH2, false },
	{ NULL, 0, false }
};

/* GUC check hook: a time zone that PostgreSQL knows. */
static bool
check_timezone(char **newval, void **extra, GucSource source)
{
	pg_tz *zone = pg_tzset(*newval);

	if (zone == NULL || !pg_tz_acceptable(zone))
	{
		GUC_check_errdetail("Time zone \"%s\" is not known.", *newval);
		GUC_check_errhint("See pg_timezone_names for the names.");
		return false;
	}
	return true;
}

/* GUC check hook: a comma-separated list, names quoted as identifiers. */
static bool
check_list(char **newval, void **extra, GucSource source)
{
	char *copy = pstrdup(*newval);
	List *names;
	bool ok = SplitGUCList(copy, ',', &names);

	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return ok;
}

/* GUC check hook: a list of channels of alerts. */
static bool
check_channels(char **newval, void **extra, GucSource source)
{
	char **channels;
	int n;
	int i;

	if (!check_list(newval, extra, source))
		return false;
	n = mj_guc_list(*newval, &channels);
	for (i = 0; i < n; i++)
	{
		MjChannel channel;
		MjProblem problem;

		if (mj_alert_channel_parse(channels[i], &channel, &problem))
			continue;
		GUC_check_errdetail("%s%s%s", problem.message,
							problem.detail[0] ? ": " : "", problem.detail);
		if (problem.hint[0] != '\0')
			GUC_check_errhint("%s", problem.hint);
		return false;
	}
	return true;
}

/*
 * The length of an interval as PostgreSQL writes it ("30 days", "36:00", "2
 * weeks"), or with the units of settings ("30d"); a month is 30 days.  False
 * if it is not understood.  Raises nothing, and needs no transaction.
 */
static bool
read_interval(const char *text, int64 *usecs)
{
	char work[256];
	char *field[MAXDATEFIELDS];
	int ftype[MAXDATEFIELDS];
	int nfields;
	int dtype;
	struct pg_itm_in itm = { 0 };

	if (ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS,
					  &nfields) != 0 ||
		DecodeInterval(field, ftype, nfields, INTERVAL_FULL_RANGE, &dtype,
					   &itm) != 0 ||
		dtype != DTK_DELTA)
		return false;
	*usecs = itm.tm_usec +
		(itm.tm_mday + (itm.tm_year * INT64CONST(12) + itm.tm_mon) * 30) *
			USECS_PER_DAY;
	return true;
}

/* GUC check hook: an interval of at least a minute. */
static bool
check_retention(char **newval, void **extra, GucSource source)
{
	int64 *usecs = MJ_GUC_MALLOC(sizeof(int64));

	if (usecs == NULL)
		return false;
	*extra = usecs;
	if (read_interval(*newval, usecs) && *usecs >= USECS_PER_MINUTE)
		return true;
	GUC_check_errdetail("It is not an interval of a minute or more.");
	GUC_check_errhint("For example \"30 days\".");
	return false;
}

static void
assign_retention(const char *newval, void *extra)
{
	mj_history_retention_us = *((int64 *) extra);
}

/* GUC check hook: none, a directory, or a URL of an SMTP server. */
static bool
check_smtp_url(char **newval, void **extra, GucSource source)
{
	MjSmtpUrl url;
	MjProblem problem = { 0 };

	if (**newval == '\0' || strncmp(*newval, "file:///", 8) == 0 ||
		mj_smtp_parse_url(*newval, &url, &problem))
		return true;
	GUC_check_errdetail("%s%s%s", problem.message,
						problem.detail[0] ? ": " : "", problem.detail);
	if (problem.hint[0] != '\0')
		GUC_check_errhint("%s", problem.hint);
	return false;
}

/* GUC check hook: none, or a URL of a proxy without credentials. */
static bool
check_proxy(char **newval, void **extra, GucSource source)
{
	MjProblem problem = { 0 };

	if (**newval == '\0' || mj_smtp_check_proxy(*newval, &problem))
		return true;
	if (problem.hint[0] != '\0')
		GUC_check_errhint("%s", problem.hint);
	return false;
}

/* GUC check hook: none, or a name in the DNS. */
static bool
check_dns_name(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || mj_dkim_is_name(*newval))
		return true;
	GUC_check_errdetail(
		"It consists of ASCII letters, digits and hyphens, with dots between them.");
	return false;
}

/* GUC check hook: a list of hosts. */
static bool
check_hosts(char **newval, void **extra, GucSource source)
{
	char wrong[100];

	if (mj_host_list_check(*newval, wrong, sizeof(wrong)))
		return true;
	GUC_check_errdetail("\"%s\" is not a host.", wrong);
	GUC_check_errhint(
		"Write host, host:port, host:*, *.domain or https://host, with commas between them.");
	return false;
}

/* GUC check hook: none, or a URL that can be called. */
static bool
check_ping_url(char **newval, void **extra, GucSource source)
{
	MjHttpUrl url;
	MjProblem problem;

	if (**newval == '\0' || mj_http_parse_url(*newval, &url, &problem))
		return true;
	GUC_check_errdetail("The URL cannot be used: %s.", problem.message);
	if (problem.hint[0] != '\0')
		GUC_check_errhint("%s", problem.hint);
	return false;
}

static void
define_string(const char *name, const char *what, const char *more,
			  char **variable, const char *boot, GucContext context, int flags,
			  GucStringCheckHook check)
{
	DefineCustomStringVariable(name, what, more, variable, boot, context, flags,
							   check, NULL, NULL);
}

static void
define_int(const char *name, const char *what, int *variable, int boot, int min,
		   int max, GucContext context, int flags)
{
	DefineCustomIntVariable(name, what, NULL, variable, boot, min, max, context,
							flags, NULL, NULL, NULL);
}

static void
define_bool(const char *name, const char *what, bool *variable, bool boot,
			GucContext context)
{
	DefineCustomBoolVariable(name, what, NULL, variable, boot, context, 0, NULL,
							 NULL, NULL);
}

/* A number by database, from 0 on. */
static void
define_rate(const char *name, const char *what, double *variable)
{
	DefineCustomRealVariable(name, what, "0 means that there is no limit.",
							 variable, 0, 0, 1e6, PGC_SUSET, 0, NULL, NULL,
							 NULL);
}

/* Settings of the server as a whole. */
static void
define_server_settings(void)
{
	define_bool("motionify_jobs.enabled",
				"Runs jobs on this server; off: no worker is started.",
				&mj_enabled, true, PGC_SIGHUP);
	define_string("motionify_jobs.databases",
				  "Databases that jobs run in; empty: all.", NULL,
				  &mj_databases, "", PGC_SIGHUP, GUC_LIST_INPUT, check_list);
	define_int("motionify_jobs.max_workers",
			   "Executors that run at once on this server.", &mj_max_workers, 4,
			   1, 1024, PGC_SIGHUP, 0);
	if (process_shared_preload_libraries_in_progress)
		define_int("motionify_jobs.max_databases",
				   "Databases with jobs that are kept track of.",
				   &mj_max_databases, 256, 1, 100000, PGC_POSTMASTER, 0);
	define_int("motionify_jobs.linger", "How long an idle worker stays.",
			   &mj_linger_s, 120, 0, 86400, PGC_SIGHUP, GUC_UNIT_S);
	define_int("motionify_jobs.misfire_grace",
			   "A due instant found later than this was missed.",
			   &mj_misfire_grace_s, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S);
	DefineCustomEnumVariable("motionify_jobs.log_runs",
							 "What the server log says of runs.", NULL,
							 &mj_log_runs, MJ_LOG_CHANGES, log_runs_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_string(
		"motionify_jobs.instance",
		"Name of this installation; a copy with another name runs nothing.",
		NULL, &mj_instance, "", PGC_SIGHUP, 0, NULL);
	define_bool("motionify_jobs.allow_superuser_jobs",
				"Lets superusers make jobs that run as a superuser.",
				&mj_allow_superuser_jobs, true, PGC_SIGHUP);
}

/* Settings of schedules and runs that can differ by database. */
static void
define_run_settings(void)
{
	define_string("motionify_jobs.timezone",
				  "Time zone of schedules that name none.", NULL, &mj_timezone,
				  "UTC", PGC_SUSET, 0, check_timezone);
	define_string("motionify_jobs.disabled_groups",
				  "Job groups that do not run.", NULL, &mj_disabled_groups, "",
				  PGC_SUSET, GUC_LIST_INPUT, check_list);
	define_string(
		"motionify_jobs.schedule_override",
		"Schedules that take the place of jobs' own.",
		"A JSON object: {\"job\": \"schedule\", \"group:name\": \"schedule\"}.",
		&mj_schedule_override, "", PGC_SUSET, 0, mj_override_check);
	define_int("motionify_jobs.catch_up_limit",
			   "Missed instants of a job that are caught up one by one.",
			   &mj_catch_up_limit, 1000, 1, 100000, PGC_SUSET, 0);
	DefineCustomStringVariable("motionify_jobs.history_retention",
							   "How long ended runs are kept.", NULL,
							   &history_retention, "30 days", PGC_SUSET, 0,
							   check_retention, assign_retention, NULL);
	define_int("motionify_jobs.max_result_length",
			   "Results and errors are cut at this length.",
			   &mj_max_result_length_kb, 8, 1, 1024 * 1024, PGC_SUSET,
			   GUC_UNIT_KB);
}

/* Settings of how mail is transported, by database. */
static void
define_transport_settings(void)
{
	DefineCustomEnumVariable(
		"motionify_jobs.smtp_auth", "What the password file is for.",
		"password: AUTH PLAIN or LOGIN; xoauth2: the file holds a bearer token.",
		&mj_smtp_auth, MJ_AUTH_PASSWORD, auth_options, PGC_SUSET, 0, NULL, NULL,
		NULL);
	define_string("motionify_jobs.smtp_proxy",
				  "Proxy that the SMTP server is reached through.",
				  "http://host:port or socks5h://host:port; empty: none.",
				  &mj_smtp_proxy, "", PGC_SUSET, 0, check_proxy);
	define_int("motionify_jobs.smtp_max_connections",
			   "Connections to the SMTP server at once.",
			   &mj_smtp_max_connections, 8, 1, 256, PGC_SUSET, 0);
	define_rate("motionify_jobs.smtp_rate", "Mails sent in a second at most.",
				&mj_smtp_rate);
	define_rate("motionify_jobs.smtp_domain_rate",
				"Mails sent to one domain in a second at most.",
				&mj_smtp_domain_rate);
}

/* Settings of mail, by database. */
static void
define_mail_settings(void)
{
	define_string("motionify_jobs.smtp_url", "Server that mail is given to.",
				  "smtp://host:port, smtps://host:port or file:///directory.",
				  &mj_smtp_url, "", PGC_SUSET, 0, check_smtp_url);
	define_string("motionify_jobs.smtp_user", "User for SMTP AUTH.", NULL,
				  &mj_smtp_user, "", PGC_SUSET, 0, NULL);
	define_string("motionify_jobs.smtp_password_file",
				  "File with the password for SMTP AUTH.",
				  "Owned by the server's user, mode 0600.",
				  &mj_smtp_password_file, "", PGC_SUSET, GUC_SUPERUSER_ONLY,
				  NULL);
	DefineCustomEnumVariable("motionify_jobs.smtp_tls",
							 "Whether SMTP must be encrypted.", NULL,
							 &mj_smtp_tls, MJ_TLS_REQUIRE, tls_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	define_bool("motionify_jobs.smtp_allow_plaintext",
				"Allows smtp_tls = off to a host that is not loopback.",
				&mj_smtp_allow_plaintext, false, PGC_SUSET);
	define_string("motionify_jobs.smtp_ca_file",
				  "Certificate authorities for SMTP; empty: the system's.",
				  NULL, &mj_smtp_ca_file, "", PGC_SUSET, 0, NULL);
	define_int("motionify_jobs.smtp_timeout",
			   "How long the SMTP server may take to answer.",
			   &mj_smtp_timeout_s, 30, 1, 3600, PGC_SUSET, GUC_UNIT_S);
	define_string("motionify_jobs.mail_from", "Sender of mail.", NULL,
				  &mj_mail_from, "", PGC_SUSET, 0, NULL);
	define_string("motionify_jobs.mail_reply_to", "Reply-To of mail.", NULL,
				  &mj_mail_reply_to, "", PGC_SUSET, 0, NULL);
	define_string("motionify_jobs.mail_redirect_to",
				  "One address that gets all mail instead; for staging.", NULL,
				  &mj_mail_redirect_to, "", PGC_SUSET, 0, NULL);
	define_int("motionify_jobs.mail_max_attempts",
			   "Failed attempts after which a mail is given up.",
			   &mj_mail_max_attempts, 3, 1, 1000, PGC_SUSET, 0);
	define_int("motionify_jobs.mail_retry_delay",
			   "Wait before a mail is tried again, the first time.",
			   &mj_mail_retry_delay_s, 120, 1, 7 * 86400, PGC_SUSET,
			   GUC_UNIT_S);
	DefineCustomEnumVariable(
		"motionify_jobs.mail_on_uncertain",
		"What becomes of a mail of which nobody knows whether the server has it.",
		"resend: it is sent again, with the same Message-ID; hold: not before "
		"jobs.resend().",
		&mj_mail_on_uncertain, MJ_UNCERTAIN_RESEND, uncertain_options,
		PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Settings of HTTP, by database. */
static void
define_http_settings(void)
{
	define_string(
		"motionify_jobs.http_allowed_hosts",
		"Hosts that http jobs and calls may go to; empty: none.",
		"host, host:port, host:*, *.domain or https://host, with commas between them.",
		&mj_http_allowed_hosts, "", PGC_SUSET, 0, check_hosts);
	define_string(
		"motionify_jobs.http_secrets_file",
		"File with headers that are added to calls of certain hosts.",
		"Lines such as: example.com Authorization: Bearer ...; owned by the server's user, mode 0600.",
		&mj_http_secrets_file, "", PGC_SUSET, GUC_SUPERUSER_ONLY, NULL);
	define_string("motionify_jobs.http_ca_file",
				  "Certificate authorities for HTTPS; empty: the system's.",
				  NULL, &mj_http_ca_file, "", PGC_SUSET, 0, NULL);
	define_int("motionify_jobs.http_timeout",
			   "How long a call may take, if its job has no timeout.",
			   &mj_http_timeout_s, 30, 1, 86400, PGC_SUSET, GUC_UNIT_S);
	define_int("motionify_jobs.http_connect_timeout",
			   "How long a call may take to connect.",
			   &mj_http_connect_timeout_s, 10, 1, 3600, PGC_SUSET, GUC_UNIT_S);
	define_int("motionify_jobs.http_max_connections",
			   "Calls that are under way at once.", &mj_http_max_connections,
			   50, 1, 256, PGC_SUSET, 0);
	define_int("motionify_jobs.http_max_response",
			   "Of an answer no more than this is read.",
			   &mj_http_max_response_kb, 1024, 1, 1024 * 1024, PGC_SUSET,
			   GUC_UNIT_KB);
	define_string(
		"motionify_jobs.ping_url",
		"URL that is called every minute while all is well; empty: none.",
		"A dead man's switch: it is called with /fail when jobs.health() has a failure.",
		&mj_ping_url, "", PGC_SUSET, GUC_SUPERUSER_ONLY, check_ping_url);
}

/* Settings of the portal pack, which its SQL reads; the portal's own choice. */
static void
define_portal_settings(void)
{
	static int max_batches;
	static char *url;

	define_int("motionify_jobs.portal_max_batches",
			   "Batches that a run of process_email_queue takes at most.",
			   &max_batches, 50, 1, 1000, PGC_USERSET, 0);
	define_string(
		"motionify_jobs.portal_url",
		"Address of the portal, for links in its mails.",
		"Notifications that lead to a path, such as /projects/7, get it "
		"put in front.",
		&url, "", PGC_USERSET, 0, NULL);
}

/* Settings of messages, by database. */
static void
define_message_settings(void)
{
	define_int("motionify_jobs.mail_max_size",
			   "Size that a mail can have as it is sent.", &mj_mail_max_size_kb,
			   25 * 1024, 16, 256 * 1024, PGC_SUSET, GUC_UNIT_KB);
	define_string(
		"motionify_jobs.dkim_key_file",
		"File with the key that mail is signed with; empty: it is not.",
		"A private key in PEM form, RSA or Ed25519; owned by the server's user, mode 0600.",
		&mj_dkim_key_file, "", PGC_SUSET, GUC_SUPERUSER_ONLY, NULL);
	define_string("motionify_jobs.dkim_selector",
				  "Name of the DKIM key in the DNS, before \"._domainkey\".",
				  NULL, &mj_dkim_selector, "", PGC_SUSET, 0, check_dns_name);
	define_string("motionify_jobs.dkim_domain",
				  "Domain that signs mail; empty: that of the sender.", NULL,
				  &mj_dkim_domain, "", PGC_SUSET, 0, check_dns_name);
}

/* Settings of alerts, by database. */
static void
define_alert_settings(void)
{
	define_string(
		"motionify_jobs.alert_channels",
		"Who is told of alerts, where their rule does not say.",
		"mail:ADDRESS, webhook:URL, notify:NAME, log or none; in double quotes "
		"what has a blank or a comma in it.",
		&mj_alert_channels, "log", PGC_SUSET,
		GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, check_channels);
}

/* Define all settings; called once from _PG_init. */
void
mj_guc_init(void)
{
	define_server_settings();
	define_run_settings();
	define_mail_settings();
	define_transport_settings();
	define_message_settings();
	define_http_settings();
	define_portal_settings();
	define_alert_settings();
	MarkGUCPrefixReserved("motionify_jobs");
}

/* The items of a comma-separated list setting; returns how many.  Any process. */
int
mj_guc_list(const char *list, char ***items)
{
	char *copy = pstrdup(list == NULL ? "" : list);
	List *names = NIL;
	ListCell *cell;
	int n = 0;

	if (!SplitGUCList(copy, ',', &names))
		names = NIL;
	*items = palloc(Max(list_length(names), 1) * sizeof(char *));
	foreach (cell, names)
		(*items)[n++] = pstrdup(lfirst(cell));
	list_free(names);
	pfree(copy);
	return n;
}

/*
 * Is an item in a comma-separated list setting?  Names are compared as they
 * are written (case folded unless quoted).  Any process, any time.
 */
bool
mj_guc_list_has(const char *list, const char *item)
{
	char *copy;
	List *names;
	ListCell *cell;
	bool found = false;

	if (list == NULL || list[0] == '\0' || item == NULL)
		return false;
	copy = pstrdup(list);
	if (SplitGUCList(copy, ',', &names))
	{
		foreach (cell, names)
			found = found || strcmp(lfirst(cell), item) == 0;
		list_free(names);
	}
	pfree(copy);
	return found;
}

/* Is a group switched off by motionify_jobs.disabled_groups?  NULL is none. */
bool
mj_guc_group_is_disabled(const char *job_group)
{
	return mj_guc_list_has(mj_disabled_groups, job_group);
}

/* Do jobs run in a database of this name (motionify_jobs.databases)? */
bool
mj_guc_database_is_served(const char *name)
{
	return mj_databases == NULL || mj_databases[0] == '\0' ||
		mj_guc_list_has(mj_databases, name);
}
