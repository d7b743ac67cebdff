/*-------------------------------------------------------------------------
 *
 * mail_record.h
 *	  The record of mails that were claimed: what became of them.
 *
 * Whoever sends fills in a MjMailEnd for each mail that it has claimed, and
 * hands in those that have ended, many at a time.  Which end means what for
 * the mail, its run and the history is decided here.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_RECORD_H
#define MJ_MAIL_RECORD_H

#include "mail_store.h"
#include "mailer.h"
#include "queue_store.h"
#include "smtp_dialogue.h"

/* A mail that was claimed, and what became of it. */
typedef struct MjMailEnd
{
	MjRun run; /* as it was claimed */
	MjMail *mail;
	bool offered;		 /* else nothing was tried, and the rest is unset */
	MjSmtpResult result; /* what became of it, not MJ_SMTP_INTERRUPTED */
	TimestampTz begun_at;
	TimestampTz ended_at;
} MjMailEnd;

/* Why a mail is not sent that has nobody left to go to. */
#define MJ_MAIL_SUPPRESSED "all recipients are suppressed"

extern bool mj_mail_suppress(MjMail *mail);
extern int mj_mail_screen(int64 worker_id, MjRun *runs, MjMail *mails, int n);
extern void mj_mail_record(MjMailEnd *const *ends, int count,
						   const MjMailTrouble *trouble, bool *told);
extern int mj_mail_reply_code(const MjSmtpResult *result);

#endif /* MJ_MAIL_RECORD_H */
