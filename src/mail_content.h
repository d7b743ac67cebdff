/*-------------------------------------------------------------------------
 *
 * mail_content.h
 *	  The content of a mail: from a row of jobs.mail to a checked message,
 *	  and on to bytes and envelope.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_CONTENT_H
#define MJ_MAIL_CONTENT_H

#include "mail_store.h"
#include "mime.h"
#include "smtp_dialogue.h"

/* A message whose parts are UTF-8; must not be moved, it points into itself. */
typedef struct MjMailContent
{
	MjMessage message;
	const char *to;
	const char *cc;
	const char *bcc;
	const char *const *suppressed; /* as in MjMail; none if redirected */
	int nsuppressed;
} MjMailContent;

/* A mail that is ready to be sent; freed with its memory context. */
typedef struct MjMailDraft
{
	MjEnvelope envelope; /* its content is in bytes */
	StringInfoData bytes;
} MjMailDraft;

extern MjMailContent *mj_mail_content(const MjMail *mail, TimestampTz date,
									  bool redirect, MjProblem *problem);
extern bool mj_mail_check(const MjMail *mail, TimestampTz date,
						  MjProblem *problem);
extern int mj_mail_recipients(const MjMail *mail, const char ***addresses);
extern char *mj_mail_first_domain(const char *list);
extern char *mj_mail_message_id(int64 mail_id, const char *sender);
extern bool mj_mail_check_defaults(MjProblem *problem);
extern bool mj_mail_draft(const MjMailContent *content, MjMailDraft *draft,
						  MjProblem *problem);

#endif /* MJ_MAIL_CONTENT_H */
