/*-------------------------------------------------------------------------
 *
 * smtp.h
 *	  A connection to an SMTP server, over libcurl.
 *
 * Two ways to use it.  One connection that waits: mj_smtp_new, mj_smtp_open,
 * mj_smtp_send any number of times, mj_smtp_quit, mj_smtp_close.  Several in an
 * event loop: mj_smtp_new, mj_smtp_begin; then, whenever one of its mj_smtp_fds
 * is ready or mj_smtp_wait_ms is over, mj_smtp_hear, mj_smtp_take what ended,
 * mj_smtp_put what mj_smtp_wants, mj_smtp_say; mj_smtp_leave, mj_smtp_close.
 * Not in the postmaster: libcurl is started by the first mj_smtp_new of a process
 * and may start threads.  SIGPIPE must be ignored, as it is in every server
 * process.
 *
 * Memory: an MjSmtp and all that hangs on it is malloc'ed.  It belongs to the
 * caller, who must reach mj_smtp_close() on every path, errors included: in
 * the server, register a MemoryContextCallback (or use PG_FINALLY) right after
 * mj_smtp_new.  mj_smtp_close neither waits, raises nor touches palloc.
 *
 * Waiting: all of it is done by the caller's MjSmtpWait, called with no libcurl
 * frame on the stack and signals open.  It may therefore leave by ereport; the
 * MjSmtp is then good for mj_smtp_close() only.  No transaction should be open
 * while any function here is called that waits (open, send, check, quit); the
 * others never do, and need no MjSmtpWait.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SMTP_H
#define MJ_SMTP_H

#include "pure.h"
#include "smtp_dialogue.h"

#define MJ_SMTP_MAX_FDS 8 /* sockets in one wait, at most */

/* Wake-up conditions of a socket, in MjSmtpFd.events */
#define MJ_SMTP_READ 0x01
#define MJ_SMTP_WRITE 0x02

typedef struct MjSmtpFd
{
	int fd;
	int events; /* MJ_SMTP_READ | MJ_SMTP_WRITE */
} MjSmtpFd;

/*
 * Wait until one of the sockets is ready, at most timeout_ms (never negative;
 * nfds may be 0).  Returns > 0: something is ready (which one is found out by
 * trying); 0: time is up; < 0: interrupted, give up.  Waking up early with > 0
 * is harmless.  A pending interrupt must return < 0 at once.
 */
typedef int (*MjSmtpWait)(void *arg, const MjSmtpFd *fds, int nfds,
						  long timeout_ms);

typedef enum MjSmtpTls
{
	MJ_SMTP_TLS_REQUIRE, /* STARTTLS on smtp://, or the connection
								 * fails */
	MJ_SMTP_TLS_OFF		 /* plain text on smtp://, also the password;
								 * smtps:// stays what it is */
} MjSmtpTls;

/* How far a connection is */
typedef enum MjSmtpPhase
{
	MJ_SMTP_NEW,
	MJ_SMTP_CONNECTING, /* name, TLS, AUTH: libcurl */
	MJ_SMTP_GREETING,	/* EHLO */
	MJ_SMTP_OPEN,		/* takes messages */
	MJ_SMTP_CLOSED		/* is of no more use */
} MjSmtpPhase;

/* All strings are copied by mj_smtp_new. */
typedef struct MjSmtpConfig
{
	const char *url;  /* smtp://host:port or smtps://host:port */
	const char *user; /* NULL or empty: no AUTH */
	const char *password;
	bool bearer;	   /* the password is a bearer token, for XOAUTH2 */
	const char *proxy; /* URL of a proxy; NULL or empty: none */
	MjSmtpTls tls;
	const char *ca_file; /* PEM; NULL or empty: the system's */
	int timeout_ms;		 /* for connecting (name to AUTH), for each
								 * reply, and without progress in sending */
	const char *helo;	 /* NULL or empty: this host's name */
} MjSmtpConfig;

/* A URL taken apart */
typedef struct MjSmtpUrl
{
	bool tls;	   /* smtps */
	bool loopback; /* localhost, 127.x.x.x or [::1] */
	char host[256];
	int port; /* default 25, smtps 465 */
} MjSmtpUrl;

typedef struct MjSmtp MjSmtp;

/* One step of a check, in the order it is taken */
#define MJ_SMTP_STEPS 3 /* connect, TLS, AUTH */

typedef struct MjSmtpStep
{
	const char *name; /* "connect", "TLS", "AUTH" */
	bool ok;
	char detail[1024];
} MjSmtpStep;

extern bool mj_smtp_parse_url(const char *url, MjSmtpUrl *parsed,
							  MjProblem *problem);
extern bool mj_smtp_check_config(const MjSmtpConfig *config,
								 MjProblem *problem);

extern bool mj_smtp_check_proxy(const char *url, MjProblem *problem);

extern MjSmtp *mj_smtp_new(const MjSmtpConfig *config, MjSmtpWait wait,
						   void *arg);

extern void mj_smtp_begin(MjSmtp *smtp);
extern void mj_smtp_hear(MjSmtp *smtp);
extern void mj_smtp_say(MjSmtp *smtp);
extern MjSmtpPhase mj_smtp_phase(const MjSmtp *smtp);
extern const MjSmtpResult *mj_smtp_failure(const MjSmtp *smtp);
extern int mj_smtp_fds(MjSmtp *smtp, MjSmtpFd *fds);
extern long mj_smtp_wait_ms(const MjSmtp *smtp);
extern long mj_smtp_still_ms(const MjSmtp *smtp);
extern bool mj_smtp_wants(const MjSmtp *smtp);
extern void mj_smtp_put(MjSmtp *smtp, const MjEnvelope *envelope, void *tag);
extern bool mj_smtp_take(MjSmtp *smtp, void **tag, MjSmtpResult *result);
extern bool mj_smtp_take_back(MjSmtp *smtp, void **tag);
extern bool mj_smtp_busy(const MjSmtp *smtp);
extern void mj_smtp_interrupt(MjSmtp *smtp);
extern void mj_smtp_leave(MjSmtp *smtp);

extern bool mj_smtp_open(MjSmtp *smtp, MjSmtpResult *result);
extern int mj_smtp_check(MjSmtp *smtp, MjSmtpStep *steps, MjSmtpResult *result);
extern bool mj_smtp_send(MjSmtp *smtp, const MjEnvelope *envelope,
						 MjSmtpResult *result);
extern bool mj_smtp_usable(const MjSmtp *smtp);
extern bool mj_smtp_in_doubt(const MjSmtp *smtp);
extern void mj_smtp_quit(MjSmtp *smtp);
extern void mj_smtp_close(MjSmtp *smtp);

#endif /* MJ_SMTP_H */
