/*-------------------------------------------------------------------------
 *
 * mail_transport.h
 *	  The transport: mails on their way over several connections at once, or
 *	  into a directory.
 *
 * Use: parcels are put in; turns are taken, each of which moves what can be
 * moved and then waits, once; parcels that have ended come out, in any order.
 * It neither needs a transaction nor should there be one that holds anything.
 *
 * A transport's connections are not PostgreSQL's: whoever made one must reach
 * mj_transport_free() on every path, or end the process.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_TRANSPORT_H
#define MJ_MAIL_TRANSPORT_H

#include "lib/ilist.h"

#include "mail_content.h"
#include "mailer.h"
#include "smtp_dialogue.h"

typedef struct MjTransport MjTransport;

/* A mail on its way.  Zeroed by the caller, and its own until it has ended. */
typedef struct MjParcel
{
	dlist_node node;
	const char *domain;		/* of its recipient; NULL: no rate is kept */
	const char *message_id; /* names a file */
	bool offered;			/* result tells what became of it */
	MjSmtpResult result;
	TimestampTz begun_at;  /* handed to a connection; 0: never */
	TimestampTz ended_at;  /* came out */
	TimestampTz not_until; /* not offered: its domain's turn; 0: at once */
	/* the transport's own */
	bool paid;	   /* for its domain */
	bool repeated; /* over another connection, the first one was dead */
	int64 due_us;  /* when it may go */
	int64 put_us;
	MemoryContext context; /* its draft, while a connection has it */
	MjMailDraft draft;
} MjParcel;

/*
 * Make the draft of a parcel, in the current context; false with its result if
 * it cannot be sent.  Called by a turn, right before the parcel is sent.
 */
typedef bool (*MjPrepare)(void *arg, MjParcel *parcel);

extern MjTransport *mj_transport_new(void);
extern bool mj_transport_is_outdated(const MjTransport *transport);
extern void mj_transport_begin(MjTransport *transport, MjPrepare prepare,
							   void *arg);
extern bool mj_transport_check(MjTransport *transport);
extern void mj_transport_allow(MjTransport *transport, int connections);
extern void mj_transport_put(MjTransport *transport, MjParcel *parcel,
							 bool first);
extern int mj_transport_room(const MjTransport *transport, int most);
extern bool mj_transport_is_stretched(MjTransport *transport);
extern int mj_transport_waiting(const MjTransport *transport);
extern int mj_transport_in_hand(const MjTransport *transport);
extern void mj_transport_turn(MjTransport *transport, long timeout_ms);
extern MjParcel *mj_transport_take(MjTransport *transport);
extern void mj_transport_return_all(MjTransport *transport);
extern bool mj_transport_stop(MjTransport *transport);
extern MjMailTrouble *mj_transport_trouble(MjTransport *transport);
extern long mj_transport_rest(MjTransport *transport);
extern void mj_transport_leave(MjTransport *transport);
extern void mj_transport_free(MjTransport *transport);

#endif /* MJ_MAIL_TRANSPORT_H */
