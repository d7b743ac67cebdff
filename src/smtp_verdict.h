/*-------------------------------------------------------------------------
 *
 * smtp_verdict.h
 *	  What the end of an SMTP dialogue means: for the mail, for the transport,
 *	  for the recipient.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SMTP_VERDICT_H
#define MJ_SMTP_VERDICT_H

#include "pure.h"
#include "smtp_dialogue.h"

#define MJ_SMTP_MAX_SERVER_ID 128 /* bytes of a server's id of a mail */

/* What becomes of the mail */
typedef enum MjVerdict
{
	MJ_VERDICT_SENT,
	MJ_VERDICT_FAILED,	  /* for good */
	MJ_VERDICT_RETRY,	  /* later; it counts */
	MJ_VERDICT_AGAIN,	  /* at once; it is not the mail's fault */
	MJ_VERDICT_UNCERTAIN, /* the server may have it */
	MJ_VERDICT_HOPELESS	  /* no mail can be sent so: it was not offered */
} MjVerdict;

extern MjVerdict mj_smtp_verdict(const MjSmtpResult *result);
extern bool mj_smtp_is_throttled(const MjSmtpResult *result);
extern bool mj_smtp_mailbox_unknown(const MjSmtpResult *result);
extern bool mj_smtp_server_id(const char *reply, char *id, size_t size);

#endif /* MJ_SMTP_VERDICT_H */
