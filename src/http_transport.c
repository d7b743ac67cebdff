/*-------------------------------------------------------------------------
 *
 * http_transport.c
 *	  The transport of HTTP: requests on their way, several at once.
 *
 * One event loop over all connections, the latch and the postmaster.  A parcel:
 *
 *	waiting --> under way --> ended
 *	waiting --> ended, not begun
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
#include "http_transport.h"

/* Connections are kept for so long while there is nothing to do. */
#define IDLE_MS 3000

#define MAX_EVENTS 64

/* A socket in the wait event set. */
typedef struct Watched
{
	MjHttpFd fd;
	int position;
} Watched;

struct MjHttpTransport
{
	MemoryContext context;
	MjHttp *http; /* NULL: nothing is open */
	dlist_head waiting;
	int nwaiting;
	dlist_head under_way;
	int nunder_way;
	dlist_head ended;
	instr_time idle_since;
	WaitEventSet *set; /* NULL: to be made */
	int generation;	   /* of the sockets in it */
	Watched *watched;
	int nwatched;
};

/* ------------------------------------------------------------------------
 * Parcels
 * ------------------------------------------------------------------------
 */

/* Put a parcel in. */
void
mj_http_transport_put(MjHttpTransport *transport, MjHttpParcel *parcel)
{
	dlist_push_tail(&transport->waiting, &parcel->node);
	transport->nwaiting++;
}

/* The next parcel that has ended; NULL: none. */
MjHttpParcel *
mj_http_transport_take(MjHttpTransport *transport)
{
	if (dlist_is_empty(&transport->ended))
		return NULL;
	return dlist_container(MjHttpParcel, node,
						   dlist_pop_head_node(&transport->ended));
}

/* How many have not begun. */
int
mj_http_transport_waiting(const MjHttpTransport *transport)
{
	return transport->nwaiting;
}

/* How many are in here, those not counted that have ended. */
int
mj_http_transport_in_hand(const MjHttpTransport *transport)
{
	return transport->nwaiting + transport->nunder_way;
}

/* A parcel that waits comes out, not begun. */
static void
end_waiting(MjHttpTransport *transport, MjHttpParcel *parcel)
{
	dlist_delete(&parcel->node);
	transport->nwaiting--;
	parcel->ended_at = mj_clock_now();
	dlist_push_tail(&transport->ended, &parcel->node);
}

/* Take what has ended from libcurl. */
static void
collect(MjHttpTransport *transport)
{
	MjHttpResponse response;
	void *tag;

	while (transport->http != NULL &&
		   mj_http_take(transport->http, &tag, &response))
	{
		MjHttpParcel *parcel = tag;

		parcel->response = response;
		parcel->call = NULL;
		parcel->ended_at = mj_clock_now();
		dlist_delete(&parcel->node);
		transport->nunder_way--;
		dlist_push_tail(&transport->ended, &parcel->node);
		MJ_FAULT("caller-answered");
	}
}

/* Give a parcel up, wherever it is; it comes out. */
void
mj_http_transport_abort(MjHttpTransport *transport, MjHttpParcel *parcel)
{
	if (parcel->call != NULL)
	{
		mj_http_abort(transport->http, parcel->call);
		collect(transport);
	}
	else
		end_waiting(transport, parcel);
}

/* All that have not begun come out. */
void
mj_http_transport_return_waiting(MjHttpTransport *transport)
{
	while (!dlist_is_empty(&transport->waiting))
		end_waiting(transport,
					dlist_head_element(MjHttpParcel, node,
									   &transport->waiting));
}

/* All come out, at once. */
void
mj_http_transport_abort_all(MjHttpTransport *transport)
{
	dlist_mutable_iter iter;

	mj_http_transport_return_waiting(transport);
	dlist_foreach_modify (iter, &transport->under_way)
		mj_http_abort(transport->http,
					  dlist_container(MjHttpParcel, node, iter.cur)->call);
	collect(transport);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

/* Begin a parcel; it ends at once if there is no memory for it. */
static void
begin_parcel(MjHttpTransport *transport, MjHttpParcel *parcel)
{
	parcel->begun_at = mj_clock_now();
	mj_http_sign(parcel->draft, parcel->begun_at);
	parcel->begun = true;
	parcel->call =
		mj_http_begin(transport->http, &parcel->draft->request, parcel);
	if (parcel->call == NULL)
	{
		parcel->response.error = MJ_HTTP_MEMORY;
		parcel->response.retry_after_s = -1;
		end_waiting(transport, parcel);
		return;
	}
	dlist_delete(&parcel->node);
	transport->nwaiting--;
	dlist_push_tail(&transport->under_way, &parcel->node);
	transport->nunder_way++;
}

/* Is it time for a parcel? */
static bool
is_due(const MjHttpParcel *parcel)
{
	return parcel->not_before == 0 || mj_clock_now() >= parcel->not_before;
}

/* Begin as many of those that wait as there may be at once. */
static void
begin_waiting(MjHttpTransport *transport)
{
	dlist_mutable_iter iter;

	if (transport->nwaiting > 0 && transport->http == NULL)
		transport->http = mj_http_new(mj_http_max_connections);
	if (transport->http == NULL)
	{
		if (transport->nwaiting > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory for HTTP connections")));
		return;
	}
	dlist_foreach_modify (iter, &transport->waiting)
	{
		MjHttpParcel *parcel = dlist_container(MjHttpParcel, node, iter.cur);

		if (transport->nunder_way >= mj_http_max_connections)
			break;
		if (is_due(parcel))
			begin_parcel(transport, parcel);
	}
}

/* Have libcurl go on, as long as that lets others begin. */
static void
move(MjHttpTransport *transport)
{
	int waiting;

	do
	{
		waiting = transport->nwaiting;
		begin_waiting(transport);
		if (transport->http != NULL)
			mj_http_go_on(transport->http);
		collect(transport);
	} while (transport->nwaiting < waiting);
}

/* ------------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------------
 */

static uint32
wait_events(const MjHttpFd *fd)
{
	return ((fd->events & MJ_HTTP_READ) ? WL_SOCKET_READABLE : 0) |
		((fd->events & MJ_HTTP_WRITE) ? WL_SOCKET_WRITEABLE : 0);
}

/* Forget the set. */
static void
drop_set(MjHttpTransport *transport)
{
	if (transport->set != NULL)
		FreeWaitEventSet(transport->set);
	if (transport->watched != NULL)
		pfree(transport->watched);
	transport->set = NULL;
	transport->watched = NULL;
	transport->nwatched = 0;
}

/* Make the set anew. */
static void
make_set(MjHttpTransport *transport, const MjHttpFd *fds, int nfds)
{
	MemoryContext old = MemoryContextSwitchTo(transport->context);
	int i;

	drop_set(transport);
	transport->set = MJ_CREATE_WAIT_EVENT_SET(2 + nfds);
	transport->watched = palloc(Max(nfds, 1) * sizeof(Watched));
	transport->nwatched = nfds;
	AddWaitEventToSet(transport->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(transport->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	for (i = 0; i < nfds; i++)
	{
		Watched *watched = &transport->watched[i];

		watched->fd = fds[i];
		watched->position =
			AddWaitEventToSet(transport->set, wait_events(&fds[i]), fds[i].fd,
							  NULL, watched);
	}
	if (transport->http != NULL)
		transport->generation = mj_http_generation(transport->http);
	MemoryContextSwitchTo(old);
}

/* A socket in the set; NULL: it is not. */
static Watched *
find_watched(MjHttpTransport *transport, int fd)
{
	int i;

	for (i = 0; i < transport->nwatched; i++)
		if (transport->watched[i].fd.fd == fd)
			return &transport->watched[i];
	return NULL;
}

/*
 * Does the set have just these sockets?  Then it is told what is wanted of them.
 */
static bool
set_fits(MjHttpTransport *transport, const MjHttpFd *fds, int nfds)
{
	int i;

	if (transport->set == NULL || transport->nwatched != nfds ||
		(transport->http != NULL &&
		 transport->generation != mj_http_generation(transport->http)))
		return false;
	for (i = 0; i < nfds; i++)
	{
		Watched *watched = find_watched(transport, fds[i].fd);

		if (watched == NULL)
			return false;
		if (watched->fd.events == fds[i].events)
			continue;
		watched->fd.events = fds[i].events;
		ModifyWaitEvent(transport->set, watched->position, wait_events(&fds[i]),
						NULL);
	}
	return true;
}

/* Have the set as it must be now. */
static void
have_set(MjHttpTransport *transport)
{
	const MjHttpFd *all = NULL;
	int n = transport->http ? mj_http_fds(transport->http, &all) : 0;
	MjHttpFd *fds = palloc(Max(n, 1) * sizeof(MjHttpFd));
	int nfds = 0;
	int i;

	for (i = 0; i < n; i++)
		if (all[i].events != 0)
			fds[nfds++] = all[i];
	if (!set_fits(transport, fds, nfds))
		make_set(transport, fds, nfds);
	pfree(fds);
}

/* When the first of those that wait for their time may begin, in ms. */
static long
earliest_ms(MjHttpTransport *transport, long most)
{
	dlist_iter iter;

	dlist_foreach (iter, &transport->waiting)
	{
		const MjHttpParcel *parcel =
			dlist_container(MjHttpParcel, node, iter.cur);

		most = mj_clock_ms_until(parcel->not_before, most);
	}
	return most;
}

/* How long to wait at most, in ms. */
static long
longest_wait(MjHttpTransport *transport, long timeout_ms)
{
	long ms = transport->http ? mj_http_wait_ms(transport->http) : -1;

	if (!dlist_is_empty(&transport->ended))
		return 0;
	if (ms >= 0)
		timeout_ms = Min(timeout_ms, ms);
	if (transport->nunder_way < mj_http_max_connections)
		timeout_ms = earliest_ms(transport, timeout_ms);
	return timeout_ms;
}

/*
 * A turn: move what can be moved, then wait for more, at most timeout_ms.  Ends
 * early when something ended, or the latch is set.
 */
void
mj_http_transport_turn(MjHttpTransport *transport, long timeout_ms)
{
	WaitEvent events[MAX_EVENTS];
	int n;
	int i;

	move(transport);
	have_set(transport);
	n = WaitEventSetWait(transport->set, longest_wait(transport, timeout_ms),
						 events, MAX_EVENTS, PG_WAIT_EXTENSION);
	for (i = 0; i < n; i++)
	{
		const Watched *watched = events[i].user_data;

		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (watched != NULL)
			mj_http_ready(transport->http, watched->fd.fd,
						  ((events[i].events & WL_SOCKET_READABLE) ?
							   MJ_HTTP_READ :
							   0) |
							  ((events[i].events & WL_SOCKET_WRITEABLE) ?
								   MJ_HTTP_WRITE :
								   0));
	}
	collect(transport);
	INSTR_TIME_SET_CURRENT(transport->idle_since);
}

/* ------------------------------------------------------------------------
 * Transports
 * ------------------------------------------------------------------------
 */

/* Make a transport, in a context of its own below the current one. */
MjHttpTransport *
mj_http_transport_new(void)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs HTTP",
							  ALLOCSET_DEFAULT_SIZES);
	MjHttpTransport *transport =
		MemoryContextAllocZero(context, sizeof(MjHttpTransport));

	transport->context = context;
	dlist_init(&transport->waiting);
	dlist_init(&transport->under_way);
	dlist_init(&transport->ended);
	return transport;
}

/*
 * Nothing is in hand: close the connections if that has long been so.  Returns
 * when it will have been, in ms; -1: there are none.
 */
long
mj_http_transport_rest(MjHttpTransport *transport)
{
	instr_time elapsed;
	long ms;

	if (transport->http == NULL)
		return -1;
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, transport->idle_since);
	ms = IDLE_MS - (long) INSTR_TIME_GET_MILLISEC(elapsed);
	if (ms > 0)
		return ms;
	drop_set(transport);
	mj_http_free(transport->http);
	transport->http = NULL;
	return -1;
}
