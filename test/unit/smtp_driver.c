/*-------------------------------------------------------------------------
 *
 * smtp_driver.c
 *	  Sends mail as its arguments say, for the tests with live servers.
 *
 *	smtp_driver [option=value ...]
 *		url, user, password, tls (off), ca, timeout (ms), helo
 *		from, rcpt (repeatable), size (bytes) or content (file)
 *		send (number of messages), check (1), quit (0)
 *		interrupt (ms after the start: waits return "interrupted")
 *		pause (1: before each message wait for a line on stdin)
 *		reopen (1: a connection for each message)
 *		dir, forbidden, id: deliver to a file:// url instead
 *
 * Prints a line per result: KEY=VALUE separated by tabs.  With the environment
 * variable MJ_SLOW_DNS, name resolution never ends.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "mailfile.h"
#include "smtp.h"

#define MAX_RCPT 1000

static const char *const outcomes[] = {
	"ACCEPTED", "TEMPORARY", "PERMANENT", "LOST", "UNCERTAIN", "INTERRUPTED"
};

static const char *const errors[] = { "NONE",		 "CONFIG",	"CONNECT",
									  "TLS",		 "AUTH",	"REFUSED",
									  "PROTOCOL",	 "TIMEOUT", "LOST",
									  "INTERRUPTED", "MEMORY" };

static MjSmtpConfig config = { .timeout_ms = 5000 };
static const char *rcpt[MAX_RCPT];
static MjEnvelope envelope = { .from = "sender@example.com",
							   .recipients = rcpt };
static int nsend = 1;
static bool only_check = false;
static bool polite = true;
static bool pausing = false;
static bool reopen = false;
static int64 interrupt_at = -1;
static const char *forbidden = NULL;
static const char *id = NULL;

typedef int (*Resolver)(const char *, const char *, const struct addrinfo *,
						struct addrinfo **);

static bool
is_blocked(int signal)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, signal);
}

/* In the place of the C library's, also for libcurl */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	Resolver real;

	if (getenv("MJ_SLOW_DNS"))
	{
		printf("what=resolver\tterm=%d\tusr1=%d\n", is_blocked(SIGTERM),
			   is_blocked(SIGUSR1));
		fflush(stdout);
		for (;;)
			pause();
	}
	*(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, result);
}

static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
wait_poll(void *arg, const MjSmtpFd *fds, int nfds, long timeout_ms)
{
	struct pollfd polls[MJ_SMTP_MAX_FDS];
	int64 left = timeout_ms;
	int got;

	/* signals must be open in every wait */
	if (is_blocked(SIGTERM) || is_blocked(SIGUSR1))
		abort();
	if (interrupt_at >= 0)
		left = Min(left, Max(interrupt_at - now_ms(), 0));
	for (int i = 0; i < nfds; i++)
	{
		polls[i].fd = fds[i].fd;
		polls[i].events = ((fds[i].events & MJ_SMTP_READ) ? POLLIN : 0) |
			((fds[i].events & MJ_SMTP_WRITE) ? POLLOUT : 0);
	}
	got = poll(polls, nfds, (int) left);
	if (interrupt_at >= 0 && now_ms() >= interrupt_at)
		return -1;
	return got < 0 ? 1 : got;
}

static void
print_result(const char *what, const MjSmtpResult *result, int64 since)
{
	printf("what=%s\toutcome=%s\terror=%s\tcode=%d\tenhanced=%s\trecipient=%d\t"
		   "stale=%d\tms=%lld\tmessage=%s\tdetail=%s\treply=%s\n",
		   what, outcomes[result->outcome], errors[result->error],
		   result->reply.code, result->reply.enhanced, result->recipient,
		   result->stale, (long long) (now_ms() - since), result->message,
		   result->detail, result->reply.text);
	fflush(stdout);
}

static char *
make_content(size_t size)
{
	static const char line[] =
		"..0123456789 0123456789 0123456789 0123456789\r\n";
	char *content = malloc(size + sizeof(line));
	size_t n = 0;

	while (n < size)
	{
		memcpy(content + n, line, sizeof(line) - 1);
		n += sizeof(line) - 1;
	}
	envelope.length = n;
	return content;
}

static char *
read_content(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *content = malloc(64 * 1024 * 1024);

	if (file == NULL)
		abort();
	envelope.length = fread(content, 1, 64 * 1024 * 1024, file);
	fclose(file);
	return content;
}

/* Options that are numbers; false if it is none of them. */
static bool
set_number(const char *name, const char *value)
{
	int number = atoi(value);

	if (strcmp(name, "timeout") == 0)
		config.timeout_ms = number;
	else if (strcmp(name, "send") == 0)
		nsend = number;
	else if (strcmp(name, "check") == 0)
		only_check = number != 0;
	else if (strcmp(name, "quit") == 0)
		polite = number != 0;
	else if (strcmp(name, "pause") == 0)
		pausing = number != 0;
	else if (strcmp(name, "reopen") == 0)
		reopen = number != 0;
	else if (strcmp(name, "interrupt") == 0)
		interrupt_at = now_ms() + number;
	else
		return false;
	return true;
}

static void
set_option(const char *name, const char *value)
{
	if (strcmp(name, "url") == 0)
		config.url = value;
	else if (strcmp(name, "user") == 0)
		config.user = value;
	else if (strcmp(name, "password") == 0)
		config.password = value;
	else if (strcmp(name, "tls") == 0)
		config.tls = MJ_SMTP_TLS_OFF;
	else if (strcmp(name, "ca") == 0)
		config.ca_file = value;
	else if (strcmp(name, "helo") == 0)
		config.helo = value;
	else if (strcmp(name, "from") == 0)
		envelope.from = value;
	else if (strcmp(name, "rcpt") == 0)
		rcpt[envelope.nrecipients++] = value;
	else if (strcmp(name, "size") == 0)
		envelope.content = make_content(atoi(value));
	else if (strcmp(name, "content") == 0)
		envelope.content = read_content(value);
	else if (strcmp(name, "forbidden") == 0)
		forbidden = value;
	else if (strcmp(name, "id") == 0)
		id = value;
	else if (!set_number(name, value))
		abort();
}

static void
check_steps(MjSmtp *smtp)
{
	MjSmtpStep steps[MJ_SMTP_STEPS];
	MjSmtpResult result;
	int64 since = now_ms();
	int n = mj_smtp_check(smtp, steps, &result);

	for (int i = 0; i < n; i++)
		printf("what=step\tname=%s\tok=%d\tdetail=%s\n", steps[i].name,
			   steps[i].ok, steps[i].detail);
	print_result("check", &result, since);
}

static MjSmtp *
open_smtp(void)
{
	MjSmtp *smtp = mj_smtp_new(&config, wait_poll, NULL);
	MjSmtpResult result;
	int64 since = now_ms();

	if (smtp == NULL)
		abort();
	if (only_check)
		check_steps(smtp);
	else
	{
		mj_smtp_open(smtp, &result);
		print_result("open", &result, since);
	}
	return smtp;
}

static void
close_smtp(MjSmtp *smtp)
{
	int64 since = now_ms();

	if (polite)
		mj_smtp_quit(smtp);
	mj_smtp_close(smtp);
	printf("what=close\tms=%lld\n", (long long) (now_ms() - since));
}

static void
send_all(void)
{
	MjSmtp *smtp = open_smtp();
	MjSmtpResult result;

	for (int i = 0; i < nsend && !only_check; i++)
	{
		int64 since;

		if (pausing)
			while (getchar() != '\n')
				;
		if (reopen && i > 0)
		{
			close_smtp(smtp);
			smtp = open_smtp();
		}
		else if (i > 0 && !mj_smtp_usable(smtp) && !pausing)
			break;
		since = now_ms();
		mj_smtp_send(smtp, &envelope, &result);
		print_result("send", &result, since);
	}
	close_smtp(smtp);
}

static void
deliver_file(void)
{
	char dir[MAXPGPATH];
	char path[MAXPGPATH] = "";
	MjProblem problem;
	bool ok;

	memset(&problem, 0, sizeof(problem));
	ok = mj_mailfile_open(config.url, forbidden, dir, &problem);

	for (int i = 0; ok && i < nsend; i++)
		ok = mj_mailfile_write(dir, id, envelope.content, envelope.length, path,
							   &problem);
	printf("what=file\tok=%d\tpath=%s\tmessage=%s\tdetail=%s\thint=%s\n", ok,
		   path, problem.message, problem.detail, problem.hint);
}

int
main(int argc, char **argv)
{
	struct rusage usage;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
			abort();
		*equals = '\0';
		set_option(argv[i], equals + 1);
	}
	if (envelope.nrecipients == 0)
		rcpt[envelope.nrecipients++] = "rcpt@example.com";
	if (envelope.content == NULL)
		envelope.content = make_content(100);
	if (id)
		deliver_file();
	else
		send_all();
	free((void *) envelope.content);
	getrusage(RUSAGE_SELF, &usage);
	printf("what=end\tmaxrss=%ld\n", usage.ru_maxrss);
	return 0;
}
