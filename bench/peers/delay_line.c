/*-------------------------------------------------------------------------
 *
 * delay_line.c
 *	  A TCP server far away: what is sent to a port of 127.0.0.1 arrives at
 *	  another one so much later, and what comes back too.
 *
 *	  delay_line LISTEN_PORT TARGET_PORT MILLISECONDS_EACH_WAY
 *
 * There is no limit on bandwidth, and no slow start.  The kernel accepts a
 * connection at once, but the target hears of it after three times the delay,
 * as it would when SYN, SYN ACK and ACK had to travel.
 *
 * One process, one thread: epoll, and a timer of the kernel's for the next
 * instant at which something arrives.  Each event has one of two delays, so
 * two queues are always in order of time.  It runs until it is killed.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* One read takes so much at most. */
#define CHUNK 65536

/* So much may be on its way to one end until the other one is not read. */
#define MAX_ON_ITS_WAY (16 * 1024 * 1024)

typedef struct Link Link;

/* One end of a connection through the line. */
typedef struct End
{
	Link *link;
	int fd;				 /* -1: not connected yet, or closed */
	struct Event *first; /* has arrived here, and is not written yet */
	struct Event *last;
	size_t on_its_way; /* bytes to here, also those not written yet */
	bool read_to_end;  /* nothing more comes from here */
	bool shut;		   /* nothing more goes to here */
} End;

/* A connection: its client, and the target. */
struct Link
{
	End ends[2];
	int events; /* in the queues of time */
	bool broken;
	Link *next_dead;
};

/* Something that arrives at an end later. */
typedef struct Event
{
	struct Event *next;
	int64_t due;
	End *to;
	bool opens;	 /* a connection to the target */
	size_t size; /* 0, unless it opens: the end of the stream */
	size_t written;
	char bytes[];
} Event;

/* Events with the same delay, so in order of time. */
typedef struct Queue
{
	int64_t delay;
	Event *first;
	Event *last;
} Queue;

static Queue data;
static Queue opening;
static int target_port;
static int listener;
static int epoll_fd;
static int timer_fd;
static Link *dead; /* to be freed when no event of epoll's can name them */

/* Ends the program, with errno's reason. */
static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* Nanoseconds of a clock that does not jump. */
static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A chunk, or another event, without content. */
static Event *
new_event(End *to, size_t size)
{
	Event *event = malloc(sizeof(Event) + size);

	if (event == NULL)
		die("malloc");
	*event = (Event){ .to = to, .size = size };
	return event;
}

/* Puts an event at the end of a list. */
static void
append(Event **first, Event **last, Event *event)
{
	event->next = NULL;
	if (*first == NULL)
		*first = event;
	else
		(*last)->next = event;
	*last = event;
}

/* Sends an event on its way. */
static void
enqueue(Queue *queue, Event *event)
{
	event->due = now() + queue->delay;
	event->to->link->events++;
	event->to->on_its_way += event->size;
	append(&queue->first, &queue->last, event);
}

static End *
other(End *end)
{
	return end == &end->link->ends[0] ? &end->link->ends[1] :
										&end->link->ends[0];
}

/* Tells the kernel what is waited for at an end. */
static void
watch(End *end, int operation)
{
	struct epoll_event wanted = { .data.ptr = end };

	if (end->fd < 0)
		return;
	if (!end->read_to_end && other(end)->on_its_way < MAX_ON_ITS_WAY)
		wanted.events |= EPOLLIN;
	if (end->first != NULL)
		wanted.events |= EPOLLOUT;
	if (epoll_ctl(epoll_fd, operation, end->fd, &wanted) != 0)
		die("epoll_ctl");
}

/* Takes an end's socket over. */
static void
attach(End *end, int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	end->fd = fd;
	watch(end, EPOLL_CTL_ADD);
}

/* A connection that failed, or has ended at both ends; may be called again. */
static void
end_link(Link *link)
{
	for (int i = 0; i < 2; i++)
	{
		if (link->ends[i].fd >= 0)
			close(link->ends[i].fd);
		link->ends[i].fd = -1;
	}
	if (!link->broken)
	{
		link->broken = true;
		link->next_dead = dead;
		dead = link;
	}
}

/* Frees connections that have ended, and of which no event is on its way. */
static void
free_dead(void)
{
	Link **at = &dead;

	while (*at != NULL)
	{
		Link *link = *at;

		if (link->events > 0)
		{
			at = &link->next_dead;
			continue;
		}
		*at = link->next_dead;
		for (int i = 0; i < 2; i++)
		{
			Event *event;

			while ((event = link->ends[i].first) != NULL)
			{
				link->ends[i].first = event->next;
				free(event);
			}
		}
		free(link);
	}
}

/* A client is there: the target hears of it later. */
static void
accept_client(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	Link *link;
	Event *event;

	if (fd < 0)
		return;
	link = calloc(1, sizeof(Link));
	if (link == NULL)
		die("calloc");
	link->ends[0].link = link->ends[1].link = link;
	link->ends[1].fd = -1;
	attach(&link->ends[0], fd);
	event = new_event(&link->ends[1], 0);
	event->opens = true;
	enqueue(&opening, event);
}

/* The address of a port of this machine. */
static struct sockaddr_in
loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
								 .sin_port = htons(port),
								 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Connects to the target. */
static void
open_target(End *end)
{
	struct sockaddr_in address = loopback(target_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0 &&
		errno != EINPROGRESS)
	{
		close(fd);
		end_link(end->link);
		return;
	}
	attach(end, fd);
}

/* Sends all that has come from an end on its way to the other one. */
static void
take(End *end)
{
	static char bytes[CHUNK];
	ssize_t size = read(end->fd, bytes, sizeof(bytes));
	Event *event;

	if (size < 0)
	{
		if (errno != EAGAIN && errno != EINTR)
			end_link(end->link);
		return;
	}
	event = new_event(other(end), size);
	memcpy(event->bytes, bytes, size);
	enqueue(&data, event);
	end->read_to_end = size == 0;
	watch(end, EPOLL_CTL_MOD);
}

/* Writes one event's bytes to its end; false if that must wait, or failed. */
static bool
write_event(End *end, Event *event)
{
	ssize_t written;

	if (event->size == 0)
	{
		end->shut = true;
		shutdown(end->fd, SHUT_WR);
		return true;
	}
	written = send(end->fd, event->bytes + event->written,
				   event->size - event->written, MSG_NOSIGNAL);
	if (written < 0)
	{
		if (errno != EAGAIN && errno != EINTR)
			end_link(end->link);
		return false;
	}
	event->written += written;
	return event->written == event->size;
}

/* Writes what has arrived at an end, as far as it takes it. */
static void
flush(End *end)
{
	while (end->fd >= 0 && end->first != NULL)
	{
		Event *event = end->first;

		if (!write_event(end, event))
			break;
		end->first = event->next;
		end->on_its_way -= event->size;
		free(event);
	}
	if (end->shut && other(end)->shut)
		end_link(end->link);
	if (end->link->broken)
		return;
	watch(end, EPOLL_CTL_MOD);
	watch(other(end), EPOLL_CTL_MOD);
}

/* What an event is, when it is due. */
static void
arrive(Event *event)
{
	End *end = event->to;

	end->link->events--;
	if (end->link->broken)
		free(event);
	else if (event->opens)
	{
		open_target(end);
		free(event);
	}
	else
	{
		append(&end->first, &end->last, event);
		flush(end);
	}
}

/* All of a queue that is due by now. */
static void
run_queue(Queue *queue)
{
	int64_t at = now();

	while (queue->first != NULL && queue->first->due <= at)
	{
		Event *event = queue->first;

		queue->first = event->next;
		arrive(event);
	}
}

/* Has the timer wake us when the next event is due. */
static void
set_timer(void)
{
	static int64_t set;
	int64_t due = 0;
	struct itimerspec at = { 0 };

	if (data.first != NULL)
		due = data.first->due;
	if (opening.first != NULL && (due == 0 || opening.first->due < due))
		due = opening.first->due;
	if (due == set)
		return;
	set = due;
	at.it_value.tv_sec = due / 1000000000;
	at.it_value.tv_nsec = due % 1000000000;
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
		die("timerfd_settime");
}

/* What the kernel says of an end. */
static void
handle(End *end, unsigned int ready)
{
	if (end->fd >= 0 && (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) &&
		!end->read_to_end)
		take(end);
	else if (end->fd >= 0 && (ready & (EPOLLHUP | EPOLLERR)))
		end_link(end->link);
	if (end->fd >= 0 && (ready & EPOLLOUT))
		flush(end);
}

/* A socket that listens. */
static int
listen_on(int port)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		die("bind");
	if (listen(fd, 1000) != 0)
		die("listen");
	return fd;
}

/* The three that epoll waits for: clients, the timer, ends. */
static void
serve(void)
{
	struct epoll_event ready[64];

	for (;;)
	{
		int count;

		set_timer();
		count = epoll_wait(epoll_fd, ready, 64, -1);
		for (int i = 0; i < count; i++)
		{
			if (ready[i].data.ptr == &listener)
				accept_client();
			else if (ready[i].data.ptr == &timer_fd)
			{
				uint64_t times;

				if (read(timer_fd, &times, sizeof(times)) < 0 &&
					errno != EAGAIN)
					die("timerfd");
			}
			else
				handle(ready[i].data.ptr, ready[i].events);
		}
		run_queue(&opening);
		run_queue(&data);
		free_dead();
	}
}

int
main(int argc, char **argv)
{
	struct epoll_event wanted = { .events = EPOLLIN };

	if (argc != 4)
	{
		fprintf(stderr,
				"usage: delay_line LISTEN_PORT TARGET_PORT "
				"MILLISECONDS_EACH_WAY\n");
		return 2;
	}
	target_port = atoi(argv[2]);
	data.delay = atof(argv[3]) * 1e6;
	opening.delay = 3 * data.delay;
	prctl(PR_SET_TIMERSLACK, 1);
	epoll_fd = epoll_create1(0);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	listener = listen_on(atoi(argv[1]));
	wanted.data.ptr = &listener;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &wanted) != 0)
		die("epoll_ctl");
	wanted.data.ptr = &timer_fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &wanted) != 0)
		die("epoll_ctl");
	serve();
	return 0;
}
