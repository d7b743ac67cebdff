/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings motionify_jobs.*.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_GUC_H
#define MJ_GUC_H

/* What the server log says of runs (motionify_jobs.log_runs). */
typedef enum MjLogRuns
{
	MJ_LOG_NONE,	 /* nothing */
	MJ_LOG_FAILURES, /* failed attempts */
	MJ_LOG_CHANGES,	 /* also successes whose result is not 0 */
	MJ_LOG_ALL		 /* also starts and every success */
} MjLogRuns;

/* Whether SMTP must be encrypted (motionify_jobs.smtp_tls). */
typedef enum MjTlsMode
{
	MJ_TLS_REQUIRE, /* STARTTLS or smtps, verified, or no mail */
	MJ_TLS_OFF		/* plain text; loopback or smtp_allow_plaintext */
} MjTlsMode;

/* What becomes of uncertain mails (motionify_jobs.mail_on_uncertain). */
typedef enum MjUncertain
{
	MJ_UNCERTAIN_RESEND, /* again, with the same Message-ID */
	MJ_UNCERTAIN_HOLD	 /* ended, until jobs.resend() */
} MjUncertain;

/* What the password file holds (motionify_jobs.smtp_auth). */
typedef enum MjAuthMode
{
	MJ_AUTH_PASSWORD, /* for AUTH PLAIN or LOGIN */
	MJ_AUTH_XOAUTH2	  /* a bearer token */
} MjAuthMode;

/* server-wide, by reload */
extern bool mj_enabled;
extern char *mj_databases;	   /* list; '' = all */
extern int mj_max_workers;	   /* executors at most */
extern int mj_max_databases;   /* at server start */
extern int mj_linger_s;		   /* seconds */
extern int mj_misfire_grace_s; /* seconds */
extern int mj_log_runs;		   /* MjLogRuns */
extern char *mj_instance;
extern bool mj_allow_superuser_jobs;

/* superuser-only, by database */
extern char *mj_timezone;
extern char *mj_disabled_groups;
extern char *mj_schedule_override; /* JSON; '' = none */
extern int mj_catch_up_limit;	   /* instants */
extern int64 mj_history_retention_us;
extern int mj_max_result_length_kb; /* kilobytes */
extern char *mj_smtp_url;
extern char *mj_smtp_user;
extern char *mj_smtp_password_file;
extern int mj_smtp_tls; /* MjTlsMode */
extern bool mj_smtp_allow_plaintext;
extern char *mj_smtp_ca_file;
extern int mj_smtp_timeout_s; /* seconds */
extern int mj_smtp_auth;	  /* MjAuthMode */
extern char *mj_smtp_proxy;
extern int mj_smtp_max_connections;
extern double mj_smtp_rate;			/* mails a second; 0 = no limit */
extern double mj_smtp_domain_rate;	/* the same, to one domain */
extern char *mj_http_allowed_hosts; /* patterns; '' = none */
extern char *mj_http_secrets_file;
extern char *mj_http_ca_file;
extern int mj_http_timeout_s;		  /* seconds */
extern int mj_http_connect_timeout_s; /* seconds */
extern int mj_http_max_connections;
extern int mj_http_max_response_kb; /* kilobytes */
extern char *mj_ping_url;			/* '' = none */
extern char *mj_mail_from;
extern char *mj_mail_reply_to;
extern char *mj_mail_redirect_to;
extern int mj_mail_max_size_kb; /* kilobytes */
extern char *mj_dkim_key_file;
extern char *mj_dkim_selector;
extern char *mj_dkim_domain; /* '' = the sender's */
extern int mj_mail_max_attempts;
extern int mj_mail_retry_delay_s; /* seconds */
extern int mj_mail_on_uncertain;  /* MjUncertain */
extern char *mj_alert_channels;	  /* list; who is told of alerts */

extern void mj_guc_init(void);
extern int mj_guc_list(const char *list, char ***items);
extern bool mj_guc_list_has(const char *list, const char *item);
extern bool mj_guc_group_is_disabled(const char *job_group);
extern bool mj_guc_database_is_served(const char *name);

#endif /* MJ_GUC_H */
