/*-------------------------------------------------------------------------
 *
 * transport_store.h
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
#ifndef MJ_TRANSPORT_STORE_H
#define MJ_TRANSPORT_STORE_H

#include "datatype/timestamp.h"

typedef enum MjTransportState
{
	MJ_TRANSPORT_RUNNING,
	MJ_TRANSPORT_SLOWED, /* the server wants less */
	MJ_TRANSPORT_PAUSED	 /* no mail can be sent */
} MjTransportState;

typedef struct MjTransport
{
	MjTransportState state;
	TimestampTz since; /* 0: always was */
	int level;		   /* tries so far; or how much slower */
	TimestampTz next_try_at;
	const char *sqlstate; /* may be NULL, as what follows */
	const char *reason;
} MjTransport;

extern void mj_transport_read(MjTransport *transport);
extern void mj_transport_lock(MjTransport *transport);
extern void mj_transport_write(const MjTransport *transport);
extern bool mj_transport_hasten(TimestampTz now);
extern TimestampTz mj_transport_next_try(TimestampTz now);

#endif /* MJ_TRANSPORT_STORE_H */
