/*-------------------------------------------------------------------------
 *
 * flow_store.h
 *	  Whether mail can be sent (jobs.mail_transport_state).
 *
 * One row, written only when mail cannot be sent as usual.  Whoever writes it
 * holds no lock but on runs that are its own, and waits for none afterwards.
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_FLOW_STORE_H
#define MJ_FLOW_STORE_H

#include "datatype/timestamp.h"

typedef enum MjFlowState
{
	MJ_FLOW_RUNNING,
	MJ_FLOW_SLOWED, /* the server wants less */
	MJ_FLOW_PAUSED	/* no mail can be sent */
} MjFlowState;

typedef struct MjMailFlow
{
	MjFlowState state;
	TimestampTz since; /* 0: always was */
	int level;		   /* tries so far; or how much slower */
	TimestampTz next_try_at;
	const char *sqlstate; /* may be NULL, as what follows */
	const char *reason;
} MjMailFlow;

extern void mj_flow_read(MjMailFlow *flow);
extern void mj_flow_lock(MjMailFlow *flow);
extern void mj_flow_write(const MjMailFlow *flow);
extern bool mj_flow_hasten(TimestampTz now);
extern TimestampTz mj_flow_next_try(TimestampTz now);

#endif /* MJ_FLOW_STORE_H */
