/*-------------------------------------------------------------------------
 *
 * mail_flow.h
 *	  The flow of mail: whether, and how much, may be sent now.
 *
 * It is running, slowed (the server wants less), or paused (no mail can be
 * sent, because of the settings, the network, TLS or the login).  Who sends
 * asks before each claim, and who records tells what happened.  Mails that
 * wait for it are ready in the queue, and none is claimed.
 *
 * All functions need a transaction.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_FLOW_H
#define MJ_MAIL_FLOW_H

#include "datatype/timestamp.h"
#include "mailer.h"

/* What may be done now. */
typedef struct MjFlowPermit
{
	int mails;		 /* to be claimed in one go; 0: none */
	int connections; /* to be opened, at most */
	bool is_trial;	 /* it is paused: whether it works again is to be seen */
} MjFlowPermit;

extern void mj_flow_ask(int mails, int connections, bool forced,
						TimestampTz now, MjFlowPermit *permit);
extern bool mj_flow_is_slowed(TimestampTz *until);
extern void mj_flow_begin_trial(TimestampTz now);
extern TimestampTz mj_flow_failed(const MjMailTrouble *trouble,
								  TimestampTz now);
extern TimestampTz mj_flow_throttled(const char *reply, TimestampTz now);
extern void mj_flow_succeeded(TimestampTz now);
extern void mj_flow_answered(TimestampTz now);

#endif /* MJ_MAIL_FLOW_H */
