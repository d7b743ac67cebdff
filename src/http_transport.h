/*-------------------------------------------------------------------------
 *
 * http_transport.h
 *	  The transport of HTTP: requests on their way, several at once.
 *
 * Use: parcels are put in; turns are taken, each of which moves what can be
 * moved and then waits, once; parcels that have ended come out, in any order.
 * It neither needs a transaction nor should there be one that holds anything.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_TRANSPORT_H
#define MJ_HTTP_TRANSPORT_H

#include "lib/ilist.h"

#include "http_request.h"

typedef struct MjHttpTransport MjHttpTransport;

/* A request on its way.  Zeroed by the caller, and its own until it has ended. */
typedef struct MjHttpParcel
{
	dlist_node node;
	MjHttpDraft *draft;		/* in memory that stays until it has ended */
	TimestampTz not_before; /* it waits in here until then; 0: not */
	bool begun;				/* response tells what became of it */
	TimestampTz begun_at;
	TimestampTz ended_at;
	MjHttpResponse response; /* its taker frees it */
	MjHttpCall *call;		 /* while it is under way */
} MjHttpParcel;

extern MjHttpTransport *mj_http_transport_new(void);
extern void mj_http_transport_put(MjHttpTransport *transport,
								  MjHttpParcel *parcel);
extern void mj_http_transport_turn(MjHttpTransport *transport, long timeout_ms);
extern MjHttpParcel *mj_http_transport_take(MjHttpTransport *transport);
extern int mj_http_transport_waiting(const MjHttpTransport *transport);
extern int mj_http_transport_in_hand(const MjHttpTransport *transport);
extern void mj_http_transport_abort(MjHttpTransport *transport,
									MjHttpParcel *parcel);
extern void mj_http_transport_return_waiting(MjHttpTransport *transport);
extern void mj_http_transport_abort_all(MjHttpTransport *transport);
extern long mj_http_transport_rest(MjHttpTransport *transport);

#endif /* MJ_HTTP_TRANSPORT_H */
