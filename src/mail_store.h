/*-------------------------------------------------------------------------
 *
 * mail_store.h
 *	  Mails (jobs.mail): content, and how they ended.
 *
 * A mail's life is its run's: when it is due, tried again or given up is in
 * the queue, and this table follows.  All functions need a transaction.  They
 * open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_STORE_H
#define MJ_MAIL_STORE_H

#include "datatype/timestamp.h"

/*
 * Bodies longer than this are not read with the batch, but one by one, right
 * before they are sent.
 */
#define MJ_MAIL_SMALL_BODY (64 * 1024) /* bytes */

/* A file, or an image of the html.  Strings in the server's encoding. */
typedef struct MjMailAttachment
{
	const char *filename;
	const char *content_type; /* NULL: as the filename says */
	const char *content_id;	  /* NULL: a file */
	struct varlena *content;  /* bytea, not toasted */
} MjMailAttachment;

/* A mail's content.  Strings in the server's encoding. */
typedef struct MjMail
{
	int64 mail_id;
	int64 run_id;
	const char *role; /* who called send_mail() */
	Oid role_oid;
	const char *recipient;
	const char *cc; /* may be NULL, as all below up to headers */
	const char *bcc;
	const char *sender; /* NULL: motionify_jobs.mail_from */
	const char *reply_to;
	const char *body_text;
	const char *body_html;
	Datum headers; /* jsonb object of strings */
	bool headers_isnull;
	const char *source_key;
	const char *subject;
	const char *message_id;
	TimestampTz created_at;
	const char *unsubscribe; /* may be NULL */
	int nattachments;
	const MjMailAttachment *attachments;
	bool bodies_missing; /* these and the bodies: too long for the batch */
	/* recipients that are left out, folded; see address.h */
	const char *const *suppressed;
	int nsuppressed;
} MjMail;

/* A mail that was sent. */
typedef struct MjMailSent
{
	int64 run_id;
	TimestampTz at;
	int smtp_code; /* 0: none */
	const char *smtp_reply;
} MjMailSent;

/* A mail that deliver_mail() has to see through. */
typedef struct MjDueMail
{
	int64 run_id;
	int32 failures; /* when it was found due */
} MjDueMail;

/* Where a set of mails stands. */
typedef struct MjMailProgress
{
	int64 sent;
	int64 claimable; /* ready, for anybody */
	int64 in_flight; /* running elsewhere */
} MjMailProgress;

extern int64 mj_mail_next_id(void);
extern int64 mj_mail_find_source_key(Oid role_oid,
									 const char *source_key); /* 0: none */
extern bool mj_mail_insert(const MjMail *mail);
extern int mj_mail_load(const int64 *run_ids, int nruns, MjMail *mails);
extern bool mj_mail_load_bodies(MjMail *mail);
extern bool mj_mail_find(int64 mail_id, MjMail *mail, TimestampTz *due_at);
extern void mj_mail_update_sent(const MjMailSent *sent, int count);
extern void mj_mail_end(int64 run_id, const char *ended_as, int smtp_code,
						const char *smtp_reply);
extern int mj_mail_due(TimestampTz now, int max_mails, MjDueMail *due);
extern void mj_mail_hasten(const MjDueMail *due, int ndue, TimestampTz now);
extern void mj_mail_progress(const MjDueMail *due, int ndue, TimestampTz now,
							 MjMailProgress *progress);
extern int64 mj_mail_reach(int64 before);
extern int64 mj_mail_prune(TimestampTz before, int limit);

#endif /* MJ_MAIL_STORE_H */
