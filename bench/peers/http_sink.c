/*-------------------------------------------------------------------------
 *
 * http_sink.c
 *	  An HTTP server that takes its time: it answers each request after so many
 *	  milliseconds, and counts.
 *
 *		http_sink PORT MILLISECONDS
 *
 * One process on epoll; connections are kept.  A request is read to the end of its
 * body; the answers are due in the order in which the requests came, so a ring of
 * them is all that is needed.  GET /count tells how many others were answered, and
 * how many were under way at most.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 4096
#define MAX_REQUEST 65536
#define RING 8192

/* What has come of a request on a connection. */
typedef struct
{
	size_t length;
	char bytes[MAX_REQUEST];
} Connection;

/* An answer that is due. */
typedef struct
{
	int fd;
	unsigned serial; /* of the connection */
	long long at_us;
} Answer;

static Connection *connections[MAX_FD];
static unsigned serials[MAX_FD];
static Answer ring[RING];
static unsigned first_answer;
static unsigned next_answer;
static long answered;
static unsigned most_under_way;
static int epoll;
static int timer;
static long long delay_us;

static long long
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		fail("epoll_ctl");
}

static int
listen_on(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(fd, 512) != 0)
		fail("listen");
	return fd;
}

static void
drop(int fd)
{
	serials[fd]++;
	connections[fd]->length = 0;
	close(fd);
}

static void
accept_all(int listener)
{
	int fd;
	int on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		if (fd >= MAX_FD)
		{
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (connections[fd] == NULL)
			connections[fd] = malloc(sizeof(Connection));
		connections[fd]->length = 0;
		watch(fd);
	}
}

/* Have the timer fire when the first answer is due. */
static void
set_timer(void)
{
	struct itimerspec spec = { { 0 } };
	long long us;

	if (first_answer == next_answer)
		return;
	us = ring[first_answer % RING].at_us - now_us();
	if (us < 1)
		us = 1;
	spec.it_value.tv_sec = us / 1000000;
	spec.it_value.tv_nsec = us % 1000000 * 1000;
	timerfd_settime(timer, 0, &spec, NULL);
}

static void
say(int fd, const char *body)
{
	char answer[256];
	int length = snprintf(answer, sizeof(answer),
						  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
						  "Content-Length: %zu\r\n\r\n%s",
						  strlen(body), body);

	if (write(fd, answer, length) != length)
		drop(fd);
}

/* The first request of a connection is complete: answer it later. */
static void
take_request(int fd)
{
	char count[64];
	Answer *answer = &ring[next_answer % RING];

	if (strncmp(connections[fd]->bytes, "GET /count ", 11) == 0)
	{
		snprintf(count, sizeof(count), "%ld %u\n", answered, most_under_way);
		say(fd, count);
		return;
	}
	answer->fd = fd;
	answer->serial = serials[fd];
	answer->at_us = now_us() + delay_us;
	if (first_answer == next_answer++)
		set_timer();
	if (next_answer - first_answer > most_under_way)
		most_under_way = next_answer - first_answer;
}

/* The length of the first request, 0 if it is not complete. */
static size_t
request_length(const Connection *connection)
{
	const char *end =
		memmem(connection->bytes, connection->length, "\r\n\r\n", 4);
	const char *line = connection->bytes;
	size_t length;

	if (end == NULL)
		return 0;
	length = end + 4 - connection->bytes;
	while (line < end)
	{
		if (strncasecmp(line, "Content-Length:", 15) == 0)
			length += atol(line + 15);
		line = (const char *) memchr(line, '\n', end + 4 - line) + 1;
	}
	return length <= connection->length ? length : 0;
}

static void
hear(int fd)
{
	Connection *connection = connections[fd];
	ssize_t got = read(fd, connection->bytes + connection->length,
					   MAX_REQUEST - connection->length);
	size_t length;

	if (got <= 0)
	{
		drop(fd);
		return;
	}
	connection->length += got;
	while ((length = request_length(connection)) > 0)
	{
		take_request(fd);
		connection->length -= length;
		memmove(connection->bytes, connection->bytes + length,
				connection->length);
	}
}

/* Send what is due. */
static void
answer_due(void)
{
	unsigned long long ignored;
	long long now = now_us();

	if (read(timer, &ignored, sizeof(ignored)) < 0)
		ignored = 0;
	while (first_answer != next_answer &&
		   ring[first_answer % RING].at_us <= now)
	{
		Answer *answer = &ring[first_answer++ % RING];

		if (answer->serial != serials[answer->fd])
			continue;
		answered++;
		say(answer->fd, "done");
	}
	set_timer();
}

int
main(int argc, char **argv)
{
	struct epoll_event events[256];
	int listener;

	if (argc != 3)
	{
		fprintf(stderr, "usage: http_sink PORT MILLISECONDS\n");
		return 1;
	}
	delay_us = atol(argv[2]) * 1000LL;
	epoll = epoll_create1(0);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	listener = listen_on(atoi(argv[1]));
	watch(timer);
	watch(listener);
	for (;;)
	{
		int n = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < n; i++)
		{
			if (events[i].data.fd == listener)
				accept_all(listener);
			else if (events[i].data.fd == timer)
				answer_due();
			else
				hear(events[i].data.fd);
		}
	}
}
