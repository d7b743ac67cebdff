/*-------------------------------------------------------------------------
 *
 * mail_session.h
 *	  A session with where mail goes, as the settings say: an SMTP server or a
 *	  directory.
 *
 * A session is one connection that waits, for checks.  The transport makes its
 * own, several, of the same settings.
 *
 * A session's memory is not PostgreSQL's: whoever opened one must reach
 * mj_session_close() on every path, errors included.  Nothing here needs a
 * transaction, and none should hold a snapshot meanwhile.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_SESSION_H
#define MJ_MAIL_SESSION_H

#include "mail_content.h"
#include "mailer.h"
#include "portability/instr_time.h"
#include "smtp.h"

typedef struct MjMailSession
{
	MjSmtp *smtp;	   /* NULL: not connected */
	bool in_directory; /* mail goes to directory, which is usable */
	char directory[MAXPGPATH];
	bool stopping; /* a wait has seen that it must stop */
	instr_time stopping_since;
} MjMailSession;

/* One step of a check */
typedef struct MjMailStep
{
	const char *name;
	bool ok;
	char *detail; /* palloc'ed */
} MjMailStep;

extern bool mj_session_check_settings(MjMailTrouble *trouble);
extern char *mj_session_describe_settings(void);
extern char *mj_session_host(void);
extern bool mj_session_open(MjMailSession *session, MjMailTrouble *trouble);
extern int mj_session_check(MjMailSession *session, MjMailStep *steps);
extern void mj_session_send(MjMailSession *session, const MjMailDraft *draft,
							const char *message_id, MjSmtpResult *result);
extern void mj_session_quit(MjMailSession *session);
extern void mj_session_close(MjMailSession *session);
extern bool mj_session_must_stop(bool is_worker);

/* for the transport */
extern bool mj_session_to_directory(void);
extern bool mj_session_open_directory(char *directory, MjMailTrouble *trouble);
extern void mj_session_write(const char *directory, const MjMailDraft *draft,
							 const char *message_id, MjSmtpResult *result);
extern MjSmtp *mj_session_connect(MjMailTrouble *trouble);
extern char *mj_session_settings(void);

/* words */
extern void mj_mail_raise(int sqlstate, const MjProblem *problem);
extern char *mj_mail_words(const char *message, const char *more);
extern void mj_trouble_from_result(const MjSmtpResult *result,
								   MjMailTrouble *trouble);
extern int mj_sqlstate_from_result(const MjSmtpResult *result);

#endif /* MJ_MAIL_SESSION_H */
