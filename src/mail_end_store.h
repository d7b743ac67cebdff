/*-------------------------------------------------------------------------
 *
 * mail_end_store.h
 *	  The ends of mails: what they do to jobs.mail, jobs.queue and jobs.run_log.
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_END_STORE_H
#define MJ_MAIL_END_STORE_H

#include "queue_store.h"

/* Mails that mj_mail_expire() ends in one go. */
#define MJ_MAIL_EXPIRE_LIMIT 1000

/*
 * What is written of a mail that was claimed.  It has ended, or goes on; it was
 * offered, and the attempt is logged, or it was not, and there was none.
 */
typedef struct MjMailEntry
{
	const MjRun *run; /* as it was claimed */
	const char *role; /* whose mail it is */
	Oid role_oid;
	const char *ended_as; /* NULL: the run goes on */
	TimestampTz run_at;	  /* if so: not before */
	bool ready;			  /* and at once */
	int32 failures;		  /* so far */
	bool offered;
	bool counted;	   /* in jobs.mail.attempts */
	int smtp_code;	   /* 0: none */
	const char *words; /* the reply, or why there was none; NULL: as it was */
	/* for the log */
	const char *status;
	TimestampTz begun_at;
	TimestampTz ended_at;
	const char *reply; /* NULL: none, as all that follows */
	const char *sqlstate;
	const char *error;
	const char *error_detail;
	const char *host;
} MjMailEntry;

extern void mj_mail_write_entries(int64 worker_id, const MjMailEntry *entries,
								  int n, bool *written);
extern int mj_mail_expire(TimestampTz now);
extern TimestampTz mj_mail_next_expiry(void);
extern bool mj_mail_find_end(int64 mail_id, int64 *run_id,
							 const char **ended_as);
extern bool mj_mail_reopen(int64 mail_id, const char *message_id,
						   TimestampTz now);

#endif /* MJ_MAIL_END_STORE_H */
