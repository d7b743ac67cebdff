/*-------------------------------------------------------------------------
 *
 * mail_transport.c
 *	  The transport: mails on their way over several connections at once, or
 *	  into a directory.
 *
 * One event loop over all connections, the latch and the postmaster.  A mail
 * waits for no connection in particular: it goes to the first that can take it,
 * idle ones before those that have one under way.  Connections are opened as
 * the mails that wait warrant it, and closed when they have been idle.
 *
 *	waiting --> held (for its domain's rate) --> waiting
 *	waiting --> on a connection --> ended
 *	on a connection, not offered --> waiting, once; or ended
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "compat.h"
#include "fault.h"
#include "guc.h"
#include "mail_session.h"
#include "mail_transport.h"
#include "rate.h"
#include "shmem.h"
#include "smtp.h"

/* Mails in hand for each connection, before another one is opened. */
#define MAILS_PER_CONNECTION 4

/* A mail that has waited so long warrants one more. */
#define PATIENCE_US 100000

/* A connection that has not moved for so long is slow. */
#define SLOW_MS 1000

/* An idle connection is kept for so long. */
#define IDLE_US 3000000

/* After a failure to open one more connection. */
#define REOPEN_US 1000000

/* Mails whose domain's turn is later than this are not kept here. */
#define HOLD_US 1000000

/*
 * Who was asked to leave waits so long for replies that may be on their way: a
 * healthy server answers in time.  For the reply to a final dot it waits as long
 * as ever: without it the mail would be sent twice.  Who is to end, or was
 * cancelled, waits only for that, and so long.
 */
#define LEAVE_GRACE_US 2000000
#define END_GRACE_US 50000

#define MAX_EVENTS 32

/* A connection, and how the wait event set knows it. */
typedef struct Connection
{
	MjSmtp *smtp;  /* NULL: none */
	int in_hand;   /* parcels */
	bool surplus;  /* to be closed when it has none */
	int64 idle_us; /* since when */
	int nfds;
	MjSmtpFd fds[MJ_SMTP_MAX_FDS];
	int positions[MJ_SMTP_MAX_FDS]; /* in the set */
} Connection;

struct MjTransport
{
	MemoryContext context;
	MjPrepare prepare;
	void *arg;
	char *settings; /* that the connections were opened with */
	bool to_directory;
	char directory[MAXPGPATH];
	int max_connections;
	int allowed_connections; /* at most, by the flow of mail */
	int share;				 /* of them, beside other processes' */
	Connection *connections;
	dlist_head waiting;
	int nwaiting;
	dlist_head held; /* for their domain */
	int nheld;
	dlist_head ended;
	int in_flight;
	int nspare; /* contexts for drafts */
	MemoryContext spare[8];
	MjBuckets *domains; /* NULL: not needed so far */
	int64 limited_us;	/* the next mail may go then; 0: at once */
	int64 opened_us;	/* the last connection */
	int64 reopen_us;	/* no other one before */
	WaitEventSet *set;
	bool set_is_old;
	MjMailTrouble trouble;
	bool stopping;
	int64 stopping_us;
	int64 asked_us;	 /* whether it is stretched */
	int64 waited_us; /* for the network since then */
};

static int64
now_us(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* ------------------------------------------------------------------------
 * Parcels
 * ------------------------------------------------------------------------
 */

/* A context for a draft. */
static MemoryContext
take_context(MjTransport *transport)
{
	if (transport->nspare > 0)
		return transport->spare[--transport->nspare];
	return AllocSetContextCreate(transport->context, "motionify_jobs mail",
								 ALLOCSET_DEFAULT_SIZES);
}

/* A parcel needs its draft no longer. */
static void
drop_draft(MjTransport *transport, MjParcel *parcel)
{
	if (parcel->context == NULL)
		return;
	if (transport->nspare < lengthof(transport->spare))
	{
		MemoryContextReset(parcel->context);
		transport->spare[transport->nspare++] = parcel->context;
	}
	else
		MemoryContextDelete(parcel->context);
	parcel->context = NULL;
}

/* A parcel comes out; it was offered, or not. */
static void
end_parcel(MjTransport *transport, MjParcel *parcel, bool offered)
{
	drop_draft(transport, parcel);
	parcel->offered = offered;
	parcel->ended_at = mj_clock_now();
	dlist_push_tail(&transport->ended, &parcel->node);
}

/* Put a parcel in; first: before those that wait. */
void
mj_transport_put(MjTransport *transport, MjParcel *parcel, bool first)
{
	parcel->put_us = now_us();
	if (first)
		dlist_push_head(&transport->waiting, &parcel->node);
	else
		dlist_push_tail(&transport->waiting, &parcel->node);
	transport->nwaiting++;
}

/* The next parcel that has ended; NULL: none. */
MjParcel *
mj_transport_take(MjTransport *transport)
{
	if (dlist_is_empty(&transport->ended))
		return NULL;
	return dlist_container(MjParcel, node,
						   dlist_pop_head_node(&transport->ended));
}

/* How many parcels have not begun, but for those whose domain holds them. */
int
mj_transport_waiting(const MjTransport *transport)
{
	return transport->nwaiting;
}

/* How many are in here, those not counted that have ended. */
int
mj_transport_in_hand(const MjTransport *transport)
{
	return transport->nwaiting + transport->nheld + transport->in_flight;
}

/* How many of so many more parcels can go soon, as far as rates let them. */
int
mj_transport_room(const MjTransport *transport, int most)
{
	int second = (int) Max(mj_smtp_rate, 1);

	if (mj_smtp_rate <= 0)
		return most;
	return Max(Min(most, second - transport->nwaiting), 0);
}

/* Has it hardly waited for the network since this was asked last? */
bool
mj_transport_is_stretched(MjTransport *transport)
{
	int64 now = now_us();
	bool stretched = transport->waited_us < (now - transport->asked_us) / 4;

	transport->asked_us = now;
	transport->waited_us = 0;
	return stretched;
}

/* What has become of a parcel that a connection had. */
static void
settle(MjTransport *transport, MjParcel *parcel)
{
	const MjSmtpResult *result = &parcel->result;

	transport->in_flight--;
	if (result->stale && !parcel->repeated && !transport->stopping)
	{
		parcel->repeated = true;
		drop_draft(transport, parcel);
		mj_transport_put(transport, parcel, true);
	}
	else
		end_parcel(transport, parcel,
				   result->outcome != MJ_SMTP_INTERRUPTED &&
					   !(result->stale && transport->stopping));
}

/* All that have not begun come out, not offered. */
void
mj_transport_return_all(MjTransport *transport)
{
	dlist_head *const lists[] = { &transport->waiting, &transport->held };
	int i;

	for (i = 0; i < lengthof(lists); i++)
		while (!dlist_is_empty(lists[i]))
			end_parcel(transport,
					   dlist_container(MjParcel, node,
									   dlist_pop_head_node(lists[i])),
					   false);
	transport->nwaiting = 0;
	transport->nheld = 0;
}

/* ------------------------------------------------------------------------
 * Rates
 * ------------------------------------------------------------------------
 */

/* Hold a parcel until its domain's turn, here if that is soon. */
static void
hold(MjTransport *transport, MjParcel *parcel, MjNamedBucket *domain,
	 int64 wait, int64 now)
{
	if (wait <= HOLD_US)
	{
		mj_bucket_take(&domain->bucket, mj_smtp_domain_rate, now);
		parcel->paid = true;
		parcel->due_us = now + wait;
		dlist_push_tail(&transport->held, &parcel->node);
		transport->nheld++;
		return;
	}
	domain->turns.full_at = Max(domain->turns.full_at, domain->bucket.full_at);
	wait = mj_bucket_wait(&domain->turns, mj_smtp_domain_rate, now);
	mj_bucket_take(&domain->turns, mj_smtp_domain_rate, now);
	parcel->not_until = mj_clock_now() + wait - HOLD_US / 2;
	end_parcel(transport, parcel, false);
}

/* May a parcel go, for its domain's part?  Else it is held. */
static bool
domain_lets_go(MjTransport *transport, MjParcel *parcel, int64 now)
{
	MjNamedBucket *domain;
	int64 wait;

	if (mj_smtp_domain_rate <= 0 || parcel->paid || parcel->domain == NULL)
		return true;
	if (transport->domains == NULL)
		transport->domains =
			MemoryContextAllocZero(transport->context, sizeof(MjBuckets));
	domain = mj_buckets_find(transport->domains, parcel->domain,
							 mj_smtp_domain_rate, now);
	wait = mj_bucket_wait(&domain->bucket, mj_smtp_domain_rate, now);
	if (wait > 0)
	{
		hold(transport, parcel, domain, wait, now);
		return false;
	}
	mj_bucket_take(&domain->bucket, mj_smtp_domain_rate, now);
	parcel->paid = true;
	return true;
}

/* Those that were held, and whose turn has come, are the first to go. */
static void
release_held(MjTransport *transport, int64 now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &transport->held)
	{
		MjParcel *parcel = dlist_container(MjParcel, node, iter.cur);

		if (parcel->due_us > now)
			continue;
		dlist_delete(iter.cur);
		transport->nheld--;
		mj_transport_put(transport, parcel, true);
	}
}

/* When the first of those that are held may go, in microseconds from now. */
static int64
held_wait(const MjTransport *transport, int64 now)
{
	int64 wait = PG_INT32_MAX;
	dlist_iter iter;

	dlist_foreach (iter, (dlist_head *) &transport->held)
		wait =
			Min(wait, dlist_container(MjParcel, node, iter.cur)->due_us - now);
	return Max(wait, 0);
}

/* The next parcel that may go now; NULL: none. */
static MjParcel *
next_parcel(MjTransport *transport)
{
	int64 now = now_us();

	transport->limited_us = 0;
	while (transport->nwaiting > 0)
	{
		MjParcel *parcel =
			dlist_head_element(MjParcel, node, &transport->waiting);
		int64 wait;

		dlist_pop_head_node(&transport->waiting);
		transport->nwaiting--;
		if (!domain_lets_go(transport, parcel, now))
			continue;
		wait = mj_mail_take_token(mj_smtp_rate, now);
		if (wait == 0)
			return parcel;
		transport->limited_us = now + wait;
		dlist_push_head(&transport->waiting, &parcel->node);
		transport->nwaiting++;
		break;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * Connections
 * ------------------------------------------------------------------------
 */

/* Free a connection, at once. */
static void
drop_connection(MjTransport *transport, Connection *connection)
{
	mj_smtp_close(connection->smtp);
	memset(connection, 0, sizeof(*connection));
	transport->set_is_old = true;
	mj_mail_connections_add(-1, 0);
}

/* Take what became of parcels from a connection. */
static void
collect(MjTransport *transport, Connection *connection)
{
	MjSmtpResult result;
	void *tag;

	while (connection->in_hand > 0 &&
		   mj_smtp_take(connection->smtp, &tag, &result))
	{
		MjParcel *parcel = tag;

		parcel->result = result;
		connection->in_hand--;
		settle(transport, parcel);
		MJ_FAULT("mailer-sent");
	}
	if (connection->in_hand == 0)
		connection->idle_us = now_us();
}

/* Give a parcel to a connection. */
static void
hand(MjTransport *transport, Connection *connection, MjParcel *parcel)
{
	MemoryContext old;
	bool ok;

	parcel->begun_at = mj_clock_now();
	parcel->context = take_context(transport);
	old = MemoryContextSwitchTo(parcel->context);
	ok = transport->prepare(transport->arg, parcel);
	MemoryContextSwitchTo(old);
	if (!ok)
	{
		end_parcel(transport, parcel, true);
		return;
	}
	transport->in_flight++;
	connection->in_hand++;
	mj_smtp_put(connection->smtp, &parcel->draft.envelope, parcel);
}

/* Give a connection what it can take, and have it go on. */
static void
feed(MjTransport *transport, Connection *connection)
{
	MjParcel *parcel;

	do
	{
		parcel = NULL;
		if (!transport->stopping && transport->trouble.sqlstate == 0 &&
			!connection->surplus && mj_smtp_wants(connection->smtp))
			parcel = next_parcel(transport);
		if (parcel)
			hand(transport, connection, parcel);
		mj_smtp_say(connection->smtp);
		collect(transport, connection);
	} while (parcel);
}

/* A connection could not be opened.  While others are there, they have to do. */
static void
note_failure(MjTransport *transport, const MjSmtpResult *failure)
{
	int i;

	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].smtp != NULL)
		{
			transport->reopen_us = now_us() + REOPEN_US;
			return;
		}
	transport->reopen_us = 0;
	if (failure->outcome != MJ_SMTP_INTERRUPTED)
		mj_trouble_from_result(failure, &transport->trouble);
}

/* A connection that is of no more use goes, and one that is too many. */
static void
reap(MjTransport *transport, Connection *connection)
{
	MjSmtpResult failure;

	if (connection->surplus && connection->in_hand == 0 &&
		mj_smtp_usable(connection->smtp))
	{
		mj_smtp_leave(connection->smtp);
		drop_connection(transport, connection);
		return;
	}
	if (mj_smtp_phase(connection->smtp) != MJ_SMTP_CLOSED)
		return;
	collect(transport, connection);
	failure = *mj_smtp_failure(connection->smtp);
	drop_connection(transport, connection);
	if (failure.outcome != MJ_SMTP_ACCEPTED) /* it never was open */
		note_failure(transport, &failure);
}

/* Open one more connection; false: not now. */
static bool
open_connection(MjTransport *transport)
{
	Connection *connection = transport->connections;

	while (connection->smtp != NULL)
		if (++connection == transport->connections + transport->max_connections)
			return false;
	if (!mj_mail_connections_add(1, transport->max_connections))
		return false;
	connection->smtp = mj_session_connect(&transport->trouble);
	if (connection->smtp == NULL)
	{
		mj_mail_connections_add(-1, 0);
		return false;
	}
	connection->idle_us = transport->opened_us = now_us();
	transport->set_is_old = true;
	reap(transport, connection);
	return true;
}

/* How many connections there are, and how many of them are being opened. */
static int
count_connections(const MjTransport *transport, int *opening)
{
	int n = 0;
	int i;

	*opening = 0;
	for (i = 0; i < transport->max_connections; i++)
	{
		const MjSmtp *smtp = transport->connections[i].smtp;

		n += smtp != NULL;
		*opening += smtp != NULL && mj_smtp_phase(smtp) < MJ_SMTP_OPEN;
	}
	return n;
}

/* Has the first of those that wait, waited long? */
static bool
is_impatient(const MjTransport *transport, int64 now)
{
	const MjParcel *first =
		dlist_head_element(MjParcel, node, (dlist_head *) &transport->waiting);

	return now - Max(first->put_us, transport->opened_us) >= PATIENCE_US;
}

/* Open as many connections as the mails that wait warrant. */
static void
open_wanted(MjTransport *transport)
{
	int64 now = now_us();
	int opening;
	int n = count_connections(transport, &opening);
	int wanted =
		1 + (mj_transport_in_hand(transport) - 1) / MAILS_PER_CONNECTION;

	if (transport->stopping || transport->limited_us != 0 ||
		now < transport->reopen_us)
		return;
	while (transport->trouble.sqlstate == 0 && opening < transport->nwaiting &&
		   n < transport->share &&
		   (n < wanted || is_impatient(transport, now)) &&
		   open_connection(transport))
	{
		n++;
		opening++;
		now = transport->opened_us;
	}
}

/*
 * Have no more connections than the flow allows, and the share of this process:
 * those that are too many get nothing more, and close.
 */
static void
limit_connections(MjTransport *transport)
{
	int n = 0;
	int i;

	transport->share =
		Min(transport->allowed_connections,
			mj_mail_connections_share(transport->max_connections));
	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].smtp != NULL)
			transport->connections[i].surplus = ++n > transport->share;
}

/*
 * A mail that waits behind another on a slow connection goes to one that has
 * nothing to do, or to a new one.
 */
static void
relieve_slow(MjTransport *transport)
{
	int opening;
	int n = count_connections(transport, &opening);
	bool free = n < transport->share;
	void *tag;
	int i;

	for (i = 0; i < transport->max_connections && !free; i++)
		free = transport->connections[i].smtp != NULL &&
			mj_smtp_usable(transport->connections[i].smtp);
	for (i = 0; i < transport->max_connections && free; i++)
	{
		Connection *connection = &transport->connections[i];

		if (connection->in_hand < 2 ||
			mj_smtp_still_ms(connection->smtp) < SLOW_MS ||
			!mj_smtp_take_back(connection->smtp, &tag))
			continue;
		connection->in_hand--;
		transport->in_flight--;
		drop_draft(transport, tag);
		mj_transport_put(transport, tag, true);
		free = false;
	}
}

/* Is any mail behind another? */
static bool
has_behind(const MjTransport *transport)
{
	int i;

	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].in_hand > 1)
			return true;
	return false;
}

/* ------------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------------
 */

static uint32
wait_events(const MjSmtpFd *fd)
{
	return ((fd->events & MJ_SMTP_READ) ? WL_SOCKET_READABLE : 0) |
		((fd->events & MJ_SMTP_WRITE) ? WL_SOCKET_WRITEABLE : 0);
}

/* Add a connection's sockets to the set. */
static void
watch_connection(MjTransport *transport, Connection *connection)
{
	int i;

	for (i = 0; i < connection->nfds; i++)
	{
		uint32 events = wait_events(&connection->fds[i]);

		connection->positions[i] = events == 0 ?
			-1 :
			AddWaitEventToSet(transport->set, events, connection->fds[i].fd,
							  NULL, connection);
	}
}

/* Make the set anew. */
static void
renew_set(MjTransport *transport)
{
	MemoryContext old = MemoryContextSwitchTo(transport->context);
	int i;

	if (transport->set != NULL)
		FreeWaitEventSet(transport->set);
	transport->set = NULL;
	transport->set = MJ_CREATE_WAIT_EVENT_SET(
		2 + transport->max_connections * MJ_SMTP_MAX_FDS);
	AddWaitEventToSet(transport->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(transport->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	for (i = 0; i < transport->max_connections; i++)
		watch_connection(transport, &transport->connections[i]);
	transport->set_is_old = false;
	MemoryContextSwitchTo(old);
}

/*
 * See which sockets a connection waits for.  While libcurl connects, a socket
 * may be another one under the same number; later only what is wanted of it
 * changes.
 */
static void
update_connection(MjTransport *transport, Connection *connection)
{
	MjSmtpFd before = connection->fds[0];
	bool settled = mj_smtp_phase(connection->smtp) == MJ_SMTP_OPEN &&
		connection->nfds == 1;

	connection->nfds = mj_smtp_fds(connection->smtp, connection->fds);
	if (!settled || connection->nfds != 1 || connection->fds[0].fd != before.fd)
		transport->set_is_old = true;
	else if (connection->fds[0].events != before.events &&
			 !transport->set_is_old)
		ModifyWaitEvent(transport->set, connection->positions[0],
						wait_events(&connection->fds[0]), NULL);
}

/* How long to wait at most, in ms. */
static long
longest_wait(MjTransport *transport, long timeout_ms)
{
	int64 now = now_us();
	int i;

	for (i = 0; i < transport->max_connections; i++)
	{
		const MjSmtp *smtp = transport->connections[i].smtp;
		long ms = smtp ? mj_smtp_wait_ms(smtp) : -1;

		if (ms >= 0)
			timeout_ms = Min(timeout_ms, ms);
	}
	if (transport->limited_us != 0)
		timeout_ms =
			Min(timeout_ms, (transport->limited_us - now + 999) / 1000);
	if (transport->nheld > 0)
		timeout_ms = Min(timeout_ms, (held_wait(transport, now) + 999) / 1000);
	if (transport->nwaiting > 0)
		timeout_ms = Min(timeout_ms, PATIENCE_US / 1000);
	if (has_behind(transport))
		timeout_ms = Min(timeout_ms, SLOW_MS / 4);
	if (transport->stopping)
		timeout_ms = Min(timeout_ms, END_GRACE_US / 2000);
	return Max(timeout_ms, 0);
}

/* A connection's socket is ready. */
static void
attend(MjTransport *transport, Connection *connection)
{
	if (connection->smtp == NULL)
		return;
	mj_smtp_hear(connection->smtp);
	collect(transport, connection);
	feed(transport, connection);
	reap(transport, connection);
}

/* Wait, once, and attend to what is ready. */
static void
wait_and_attend(MjTransport *transport, long timeout_ms)
{
	WaitEvent events[MAX_EVENTS];
	int64 since_us;
	int n;
	int i;

	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].smtp != NULL)
			update_connection(transport, &transport->connections[i]);
	if (transport->set == NULL || transport->set_is_old)
		renew_set(transport);
	since_us = now_us();
	n = WaitEventSetWait(transport->set, longest_wait(transport, timeout_ms),
						 events, MAX_EVENTS, PG_WAIT_EXTENSION);
	transport->waited_us += now_us() - since_us;
	for (i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else
			attend(transport, events[i].user_data);
	}
}

/* ------------------------------------------------------------------------
 * Interface
 * ------------------------------------------------------------------------
 */

/* Make a transport, in a context of its own below the current one. */
MjTransport *
mj_transport_new(void)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs transport",
							  ALLOCSET_DEFAULT_SIZES);
	MjTransport *transport =
		MemoryContextAllocZero(context, sizeof(MjTransport));

	transport->context = context;
	dlist_init(&transport->waiting);
	dlist_init(&transport->held);
	dlist_init(&transport->ended);
	return transport;
}

/* The settings are others than those that connections were opened with. */
static void
renew_settings(MjTransport *transport, char *settings)
{
	mj_transport_leave(transport);
	if (transport->settings)
		pfree(transport->settings);
	transport->settings = MemoryContextStrdup(transport->context, settings);
	if (transport->connections)
		pfree(transport->connections);
	transport->max_connections = mj_smtp_max_connections;
	transport->connections =
		MemoryContextAllocZero(transport->context,
							   transport->max_connections * sizeof(Connection));
	transport->to_directory = mj_session_to_directory();
	transport->reopen_us = 0;
}

/* Are the settings others than those that its connections were opened with? */
bool
mj_transport_is_outdated(const MjTransport *transport)
{
	char *settings = mj_session_settings();
	bool outdated = strcmp(settings, transport->settings) != 0;

	pfree(settings);
	return outdated;
}

/*
 * Begin to send, with the settings as they are now; what was kept of before is
 * used if they are the same.  See mj_transport_check().
 */
void
mj_transport_begin(MjTransport *transport, MjPrepare prepare, void *arg)
{
	char *settings = mj_session_settings();

	Assert(mj_transport_in_hand(transport) == 0);
	transport->prepare = prepare;
	transport->arg = arg;
	transport->stopping = false;
	transport->allowed_connections = mj_smtp_max_connections;
	memset(&transport->trouble, 0, sizeof(MjMailTrouble));
	if (transport->settings == NULL ||
		strcmp(settings, transport->settings) != 0)
		renew_settings(transport, settings);
	pfree(settings);
}

/*
 * Has anybody said where mail goes, and is the directory there?  False with the
 * transport's trouble if not.  Before parcels are put in.
 */
bool
mj_transport_check(MjTransport *transport)
{
	return mj_mailer_check_configured(&transport->trouble) &&
		(!transport->to_directory ||
		 mj_session_open_directory(transport->directory, &transport->trouble));
}

/* Have no more than so many connections. */
void
mj_transport_allow(MjTransport *transport, int connections)
{
	transport->allowed_connections = connections;
}

/* Write the next mail into the directory. */
static void
write_next(MjTransport *transport)
{
	MjParcel *parcel = NULL;
	MemoryContext old;

	if (!transport->stopping && transport->trouble.sqlstate == 0)
		parcel = next_parcel(transport);
	if (parcel == NULL)
		return;
	parcel->begun_at = mj_clock_now();
	parcel->context = take_context(transport);
	old = MemoryContextSwitchTo(parcel->context);
	if (transport->prepare(transport->arg, parcel))
		mj_session_write(transport->directory, &parcel->draft,
						 parcel->message_id, &parcel->result);
	MemoryContextSwitchTo(old);
	end_parcel(transport, parcel, true);
	MJ_FAULT("mailer-sent");
}

/* Is there a mail that can be written at once? */
static bool
has_more_to_write(const MjTransport *transport)
{
	return transport->to_directory && transport->nwaiting > 0 &&
		transport->limited_us == 0;
}

/* Have all connections go on. */
static void
feed_all(MjTransport *transport)
{
	int i;

	/* idle ones first; they may have been closed meanwhile */
	for (i = 0; i < transport->max_connections && transport->nwaiting > 0; i++)
	{
		Connection *connection = &transport->connections[i];

		if (connection->smtp == NULL || !mj_smtp_usable(connection->smtp))
			continue;
		mj_smtp_hear(connection->smtp);
		feed(transport, connection);
	}
	for (i = 0; i < transport->max_connections; i++)
	{
		Connection *connection = &transport->connections[i];

		if (connection->smtp == NULL)
			continue;
		if (transport->nwaiting > 0 || mj_smtp_wait_ms(connection->smtp) == 0)
			feed(transport, connection);
		reap(transport, connection);
	}
}

/*
 * A turn: move what can be moved, then wait for more, at most timeout_ms.  Ends
 * early when something ended, or the latch is set.
 */
void
mj_transport_turn(MjTransport *transport, long timeout_ms)
{
	release_held(transport, now_us());
	if (transport->to_directory)
		write_next(transport);
	else
	{
		limit_connections(transport);
		feed_all(transport);
		if (transport->nwaiting > 0)
			open_wanted(transport);
		else if (has_behind(transport))
			relieve_slow(transport);
	}
	if (!dlist_is_empty(&transport->ended) || has_more_to_write(transport) ||
		(transport->trouble.sqlstate != 0 && transport->nwaiting > 0))
		timeout_ms = 0;
	wait_and_attend(transport, timeout_ms);
}

/* Why no mail can be sent, with sqlstate 0 while it can.  May be set, too. */
MjMailTrouble *
mj_transport_trouble(MjTransport *transport)
{
	return &transport->trouble;
}

/* Is a connection to be given up, by who must stop since some time? */
static bool
is_given_up(const Connection *connection, int64 waited_us)
{
	bool now = ProcDiePending || QueryCancelPending;

	if (!mj_smtp_busy(connection->smtp))
		return false;
	if (connection->in_hand == 0)
		return true;
	if (!mj_smtp_in_doubt(connection->smtp))
		return now || waited_us >= LEAVE_GRACE_US;
	return now && waited_us >= END_GRACE_US;
}

/*
 * This process must stop: nothing more is begun, and what is under way ends
 * soon, at once if it was told to end or cancelled.  Called again and again,
 * between turns, until it returns true: nothing is in hand any more.
 */
bool
mj_transport_stop(MjTransport *transport)
{
	int64 now = now_us();
	void *tag;
	int i;

	if (!transport->stopping)
		transport->stopping_us = now;
	transport->stopping = true;
	mj_transport_return_all(transport);
	for (i = 0; i < transport->max_connections; i++)
	{
		Connection *connection = &transport->connections[i];

		if (connection->smtp == NULL)
			continue;
		if (mj_smtp_take_back(connection->smtp, &tag))
		{
			connection->in_hand--;
			transport->in_flight--;
			end_parcel(transport, tag, false);
		}
		if (is_given_up(connection, now - transport->stopping_us))
			mj_smtp_interrupt(connection->smtp);
		reap(transport, connection);
	}
	return transport->in_flight == 0;
}

/*
 * Nothing is in hand: close connections that have been idle for long.  Returns
 * when the next one will have been, in ms; -1: there is none.
 */
long
mj_transport_rest(MjTransport *transport)
{
	int64 now = now_us();
	int64 next = -1;
	int i;

	for (i = 0; i < transport->max_connections; i++)
	{
		Connection *connection = &transport->connections[i];
		int64 left = connection->idle_us + IDLE_US - now;

		if (connection->smtp == NULL)
			continue;
		if (left > 0 && mj_smtp_phase(connection->smtp) != MJ_SMTP_CLOSED)
			next = next < 0 ? left : Min(next, left);
		else
		{
			mj_smtp_leave(connection->smtp);
			drop_connection(transport, connection);
		}
	}
	return next < 0 ? -1 : (long) ((next + 999) / 1000);
}

/* Nothing is in hand: close all connections, politely.  Does not wait. */
void
mj_transport_leave(MjTransport *transport)
{
	int i;

	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].smtp != NULL)
		{
			mj_smtp_leave(transport->connections[i].smtp);
			drop_connection(transport, &transport->connections[i]);
		}
}

/* Close all and free it, at once; in any state.  Parcels are the caller's. */
void
mj_transport_free(MjTransport *transport)
{
	int i;

	for (i = 0; i < transport->max_connections; i++)
		if (transport->connections[i].smtp != NULL)
			drop_connection(transport, &transport->connections[i]);
	if (transport->set != NULL)
		FreeWaitEventSet(transport->set);
	MemoryContextDelete(transport->context);
}
