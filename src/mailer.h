/*-------------------------------------------------------------------------
 *
 * mailer.h
 *	  The mailer: takes due mails from the queue, sends them, records what
 *	  became of them.
 *
 * Two callers: the executor of the mail lane, between transactions, and
 * jobs.deliver_mail(), which commits through SPI.  While the network is used
 * no snapshot, xid or lock is held.
 *
 * Layer: delivery (above the stores, below the SQL surface and the loops).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAILER_H
#define MJ_MAILER_H

#include "pure.h"

#define MJ_MAILER_BATCH 400 /* mails claimed at once, at most */

/* Why no mail could be sent at all: settings, connection, TLS, AUTH. */
typedef struct MjMailTrouble
{
	int sqlstate;	/* 0: there is none */
	bool throttled; /* the server only wants less of us */
	MjProblem problem;
} MjMailTrouble;

extern bool mj_mailer_check_configured(MjMailTrouble *trouble);
extern bool mj_mailer_check_settings(MjMailTrouble *trouble);
extern int mj_mailer_run(int64 worker_id);
extern long mj_mailer_rest(void);
extern void mj_mailer_leave(void);
extern int64 mj_mailer_deliver(int64 worker_id, int max_mails);
extern int mj_mailer_put_back_leftovers(int64 worker_id);

#endif /* MJ_MAILER_H */
