/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP requests over libcurl, several at once, and what URLs they go to.
 *
 * A multi handle, driven by its sockets and its timer; each request is an easy
 * handle.  Connections are kept by libcurl and used again.
 *
 * This and smtp.c are the only files that include curl.h.  libcurl's callbacks
 * below do nothing but note what they are told: no palloc, no ereport, no
 * waiting.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "smtp_dialogue.h"

#define FIRST_ROOM 2048 /* bytes for a body, at first */

struct MjHttpCall
{
	MjHttp *http;
	MjHttpCall *next; /* of those that have ended, or are spare */
	MjHttpCall *previous_begun;
	MjHttpCall *next_begun;
	CURL *easy;
	struct curl_slist *headers;
	void *tag;
	long timeout_ms;
	size_t most;
	size_t kept;
	size_t got; /* bytes of the body */
	size_t room;
	MjHttpResponse response;
	bool has_ended;
	char curl_error[CURL_ERROR_SIZE];
};

struct MjHttp
{
	CURLM *multi;
	MjHttpCall *begun; /* under way */
	MjHttpCall *ended; /* not taken; the last one first */
	MjHttpCall *spare;
	int64 wake_at; /* when libcurl wants to be called, or -1 */
	MjHttpFd *fds;
	int nfds;
	int room; /* for fds */
	int generation;
	int *opened; /* sockets that libcurl has opened to servers */
	int nopened;
	int opened_room;
};

/*
 * Milliseconds of a clock that nobody sets.  (Time-outs only: what time it is
 * comes from elsewhere.)
 */
static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------
 * URLs
 * ------------------------------------------------------------------------
 */

static bool
refuse(MjProblem *problem, const char *message, const char *hint)
{
	memset(problem, 0, sizeof(*problem));
	strlcpy(problem->message, message, sizeof(problem->message));
	if (hint)
		strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/* Copy a part of a URL; false if it is not there, or too long. */
static bool
copy_part(CURLU *handle, CURLUPart part, unsigned int flags, char *to,
		  size_t size)
{
	char *value = NULL;
	bool ok;

	if (curl_url_get(handle, part, &value, flags) != CURLUE_OK)
		return false;
	ok = *value != '\0' && strlcpy(to, value, size) < size;
	curl_free(value);
	return ok;
}

/* Does a URL have a part, an empty one included? */
static bool
has_part(CURLU *handle, CURLUPart part)
{
	char *value = NULL;

	if (curl_url_get(handle, part, &value, 0) != CURLUE_OK)
		return false;
	curl_free(value);
	return true;
}

/* Is it this host itself, by its name? */
static bool
is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
		(strncmp(host, "127.", 4) == 0 &&
		 strspn(host, "0123456789.") == strlen(host));
}

/* Judge the parts of a URL that libcurl took apart. */
static bool
take_parts(CURLU *handle, MjHttpUrl *parsed, MjProblem *problem)
{
	char scheme[16];
	char port[8];

	if (!copy_part(handle, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) ||
		(strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return refuse(problem, "its scheme is neither http nor https", NULL);
	if (has_part(handle, CURLUPART_USER) ||
		has_part(handle, CURLUPART_PASSWORD))
		return refuse(
			problem, "it contains a user name or password",
			"Secrets of a host are kept in the file that motionify_jobs.http_secrets_file names.");
	if (has_part(handle, CURLUPART_FRAGMENT))
		return refuse(problem, "it contains a fragment, behind #",
					  "A fragment is not sent; write %23 for the character.");
	if (!copy_part(handle, CURLUPART_HOST, 0, parsed->host,
				   sizeof(parsed->host)))
		return refuse(problem, "it has no valid host", NULL);
	if (!copy_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, port,
				   sizeof(port)))
		return refuse(problem, "it has no valid port", NULL);
	for (char *p = parsed->host; *p; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	parsed->tls = strcmp(scheme, "https") == 0;
	parsed->port = atoi(port);
	parsed->loopback = is_loopback(parsed->host);
	return true;
}

/* May a URL be given to libcurl?  It would take some things for another. */
static bool
check_bytes(const char *url, MjProblem *problem)
{
	const unsigned char *p;

	if (*url == '\0')
		return refuse(problem, "it is empty", NULL);
	if (strlen(url) > MJ_HTTP_MAX_URL)
		return refuse(problem, "it is longer than 2000 bytes", NULL);
	for (p = (const unsigned char *) url; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return refuse(
				problem,
				"it contains a blank, a control character, or one that is not ASCII",
				"Write such characters as %XX, and international host names as xn--...");
	if (strchr(url, '\\') != NULL)
		return refuse(problem, "it contains a backslash", "Write it as %5C.");
	/* libcurl would guess a scheme */
	if (strstr(url, "://") == NULL)
		return refuse(problem, "it has no scheme",
					  "Write https://host/path or http://host/path.");
	/* and skip a slash too many */
	if (strstr(url, "://")[3] == '/')
		return refuse(problem, "it has no host", NULL);
	return true;
}

/*
 * Take a URL apart as libcurl will when it is called; false with the problem,
 * which does not repeat it.  Any process, any time.
 */
bool
mj_http_parse_url(const char *url, MjHttpUrl *parsed, MjProblem *problem)
{
	CURLU *handle;
	bool ok;

	memset(parsed, 0, sizeof(*parsed));
	if (!check_bytes(url, problem))
		return false;
	handle = curl_url();
	if (handle == NULL)
		return refuse(problem, "there is no memory for it", NULL);
	if (curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) ==
		CURLUE_OK)
		ok = take_parts(handle, parsed, problem);
	else
		ok = refuse(problem, "it is malformed",
					"Write https://host/path or http://host/path.");
	curl_url_cleanup(handle);
	return ok;
}

/* ------------------------------------------------------------------------
 * libcurl's callbacks
 * ------------------------------------------------------------------------
 */

/* Where a socket is in a list of them; the list's length: nowhere. */
static int
find_opened(const MjHttp *http, int fd)
{
	int i = 0;

	while (i < http->nopened && http->opened[i] != fd)
		i++;
	return i;
}

/* libcurl opens a connection. */
static curl_socket_t
open_callback(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	MjHttp *http = arg;
	int fd;

	if (http->nopened == http->opened_room)
	{
		int room = Max(64, 2 * http->opened_room);
		int *opened = realloc(http->opened, room * sizeof(int));

		if (opened == NULL)
			return CURL_SOCKET_BAD;
		http->opened = opened;
		http->opened_room = room;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	http->opened[http->nopened++] = fd;
	http->generation++;
	return fd;
}

/* libcurl closes one. */
static int
close_callback(void *arg, curl_socket_t fd)
{
	MjHttp *http = arg;
	int i = find_opened(http, fd);

	if (i < http->nopened)
		http->opened[i] = http->opened[--http->nopened];
	http->generation++;
	return close(fd);
}

/* Make room for one more socket to wait for. */
static bool
have_room(MjHttp *http)
{
	int room = Max(64, 2 * http->room);
	MjHttpFd *fds;

	if (http->nfds < http->room)
		return true;
	fds = realloc(http->fds, room * sizeof(MjHttpFd));
	if (fds == NULL)
		return false;
	http->fds = fds;
	http->room = room;
	return true;
}

/* libcurl wants (or no longer wants) to know about a socket. */
static int
socket_callback(CURL *easy, curl_socket_t fd, int what, void *arg,
				void *socket_arg)
{
	MjHttp *http = arg;
	int i = 0;

	while (i < http->nfds && http->fds[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < http->nfds)
			http->fds[i] = http->fds[--http->nfds];
		return 0;
	}
	if (i == http->nfds)
	{
		if (!have_room(http))
			return -1;
		http->nfds++;
		/* the resolver's own, whose number may have been another's */
		if (find_opened(http, fd) == http->nopened)
			http->generation++;
	}
	http->fds[i].fd = fd;
	http->fds[i].events = ((what & CURL_POLL_IN) ? MJ_HTTP_READ : 0) |
		((what & CURL_POLL_OUT) ? MJ_HTTP_WRITE : 0);
	return 0;
}

static int
timer_callback(CURLM *multi, long timeout_ms, void *arg)
{
	MjHttp *http = arg;

	http->wake_at = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
	return 0;
}

/* Keep a piece of a body; false: no memory. */
static bool
keep(MjHttpCall *call, const char *bytes, size_t length)
{
	MjHttpResponse *response = &call->response;
	size_t needed = response->length + length + 1;

	if (needed > call->room)
	{
		size_t room = Max(Max(needed, 2 * call->room), FIRST_ROOM);
		char *body = realloc(response->body, room);

		if (body == NULL)
			return false;
		response->body = body;
		call->room = room;
	}
	memcpy(response->body + response->length, bytes, length);
	response->length += length;
	response->body[response->length] = '\0';
	return true;
}

/* A piece of a body; to take less of it ends the request. */
static size_t
write_callback(char *bytes, size_t size, size_t count, void *arg)
{
	MjHttpCall *call = arg;
	MjHttpResponse *response = &call->response;
	size_t length = size * count;
	size_t wanted = Min(length, call->kept - response->length);

	call->got += length;
	if (wanted < length)
		response->cut = true;
	if (!keep(call, bytes, wanted))
	{
		response->error = MJ_HTTP_MEMORY;
		return 0;
	}
	return call->got > call->most ? 0 : length;
}

/* Does a header line begin so?  Then what is behind, in *value and *length. */
static bool
take_header(const char *line, size_t size, const char *name, const char **value,
			size_t *length)
{
	size_t n = strlen(name);

	if (size <= n || pg_strncasecmp(line, name, n) != 0)
		return false;
	for (line += n, size -= n; size > 0 && (*line == ' ' || *line == '\t');
		 line++, size--)
		;
	while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == '\n'))
		size--;
	*value = line;
	*length = size;
	return true;
}

/* A line of the answer's head. */
static size_t
header_callback(char *line, size_t size, size_t count, void *arg)
{
	MjHttpResponse *response = &((MjHttpCall *) arg)->response;
	const char *value;
	size_t length;

	if (take_header(line, size * count, "HTTP/", &value, &length))
	{
		/* "1.1 503 Service Unavailable" */
		const char *words = memchr(value, ' ', length);

		response->location[0] = response->reason[0] = '\0';
		if (words != NULL && value + length - words > 5)
			mj_smtp_printable(response->reason, sizeof(response->reason),
							  words + 5, value + length - words - 5);
	}
	else if (take_header(line, size * count, "Location:", &value, &length))
		mj_smtp_printable(response->location, sizeof(response->location), value,
						  length);
	return size * count;
}

/* ------------------------------------------------------------------------
 * A request
 * ------------------------------------------------------------------------
 */

/* Add a header to those of a request. */
static bool
add_header(MjHttpCall *call, const char *line)
{
	struct curl_slist *headers = curl_slist_append(call->headers, line);

	if (headers == NULL)
		return false;
	call->headers = headers;
	return true;
}

/* Its headers; without those that libcurl would add by itself. */
static CURLcode
set_headers(MjHttpCall *call, const MjHttpRequest *request)
{
	bool has_type = false;

	for (int i = 0; i < request->nheaders; i++)
	{
		has_type |=
			pg_strncasecmp(request->headers[i], "Content-Type:", 13) == 0;
		if (!add_header(call, request->headers[i]))
			return CURLE_OUT_OF_MEMORY;
	}
	if (!add_header(call, "Expect:") ||
		(!has_type && !add_header(call, "Content-Type:")))
		return CURLE_OUT_OF_MEMORY;
	return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

/* Its method and body.  The body is not copied. */
static CURLcode
set_method(MjHttpCall *call, const MjHttpRequest *request)
{
	CURL *easy = call->easy;
	bool sends = strcmp(request->method, "POST") == 0 ||
		strcmp(request->method, "PUT") == 0 ||
		strcmp(request->method, "PATCH") == 0;
	CURLcode code = CURLE_OK;

	if (strcmp(request->method, "HEAD") == 0)
		return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (sends || request->body != NULL)
	{
		code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
								 (curl_off_t) request->length);
		code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
								 request->body ? request->body : "");
	}
	else
		code |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	return code |
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

/* Who may be talked to, and how. */
static CURLcode
set_security(MjHttpCall *call, const MjHttpRequest *request)
{
	CURL *easy = call->easy;
	CURLcode code = CURLE_OK;

#if LIBCURL_VERSION_NUM >= 0x075500
	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
							 (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	code |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	code |= curl_easy_setopt(easy, CURLOPT_SSLVERSION,
							 (long) CURL_SSLVERSION_TLSv1_2);
	if (request->ca_file != NULL && *request->ca_file != '\0')
	{
		/* this one instead of the system's, not beside them */
		code |= curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
		code |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	/* no proxy and no credentials from the environment */
	code |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
	code |= curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	return code;
}

/* How libcurl behaves in this process, and for how long. */
static CURLcode
set_behaviour(MjHttpCall *call, const MjHttpRequest *request)
{
	CURL *easy = call->easy;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(easy, CURLOPT_URL, request->url);
	code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* do not join the resolver's thread when giving up */
	code |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	code |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
							 (long) CURL_HTTP_VERSION_1_1);
	code |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "motionify_jobs");
	code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
							 request->connect_timeout_ms);
	code |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
	code |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
	code |= curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_callback);
	code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	code |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_callback);
	code |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_callback);
	code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call->http);
	code |= curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_callback);
	code |= curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->http);
	return code;
}

/* Make a call ready to be used, again. */
static void
reset_call(MjHttpCall *call)
{
	curl_easy_reset(call->easy);
	curl_slist_free_all(call->headers);
	call->headers = NULL;
	free(call->response.body);
	memset(&call->response, 0, sizeof(MjHttpResponse));
	call->got = call->room = 0;
	call->has_ended = false;
	call->curl_error[0] = '\0';
}

static void
free_call(MjHttpCall *call)
{
	if (call->easy != NULL)
		curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	free(call->response.body);
	free(call);
}

/* A spare call, or a new one; NULL: out of memory. */
static MjHttpCall *
have_call(MjHttp *http)
{
	MjHttpCall *call = http->spare;

	if (call != NULL)
	{
		http->spare = call->next;
		return call;
	}
	call = calloc(1, sizeof(MjHttpCall));
	if (call == NULL)
		return NULL;
	call->http = http;
	call->easy = curl_easy_init();
	if (call->easy != NULL)
		return call;
	free_call(call);
	return NULL;
}

/* Put a call among those under way. */
static void
link_call(MjHttp *http, MjHttpCall *call)
{
	call->previous_begun = NULL;
	call->next_begun = http->begun;
	if (http->begun != NULL)
		http->begun->previous_begun = call;
	http->begun = call;
}

static void
unlink_call(MjHttp *http, MjHttpCall *call)
{
	if (call->next_begun != NULL)
		call->next_begun->previous_begun = call->previous_begun;
	if (call->previous_begun != NULL)
		call->previous_begun->next_begun = call->next_begun;
	else
		http->begun = call->next_begun;
}

/*
 * Begin a request; mj_http_go_on() has it go on.  NULL: out of memory.  The tag
 * is what it is known by when it has ended.
 */
MjHttpCall *
mj_http_begin(MjHttp *http, const MjHttpRequest *request, void *tag)
{
	MjHttpCall *call = have_call(http);

	if (call == NULL)
		return NULL;
	reset_call(call);
	call->tag = tag;
	call->timeout_ms = request->timeout_ms;
	call->most = request->most;
	call->kept = Min(request->kept, request->most);
	call->response.retry_after_s = -1;
	if (set_behaviour(call, request) != CURLE_OK ||
		set_security(call, request) != CURLE_OK ||
		set_method(call, request) != CURLE_OK ||
		set_headers(call, request) != CURLE_OK ||
		curl_multi_add_handle(http->multi, call->easy) != CURLM_OK)
	{
		free_call(call);
		return NULL;
	}
	link_call(http, call);
	return call;
}

/* ------------------------------------------------------------------------
 * Ends
 * ------------------------------------------------------------------------
 */

/* libcurl has given up in time: while connecting, which includes TLS, or later? */
static MjHttpError
classify_timeout(const MjHttpCall *call)
{
	curl_off_t total_us = 0;

	curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &total_us);
	return total_us / 1000 >= call->timeout_ms ? MJ_HTTP_TIMEOUT :
												 MJ_HTTP_CONNECT;
}

/* The class of libcurl's error. */
static MjHttpError
classify(const MjHttpCall *call, CURLcode code)
{
	switch (code)
	{
		case CURLE_OK:
			return MJ_HTTP_OK;
		case CURLE_OUT_OF_MEMORY:
			return MJ_HTTP_MEMORY;
		case CURLE_URL_MALFORMAT:
		case CURLE_BAD_FUNCTION_ARGUMENT:
			return MJ_HTTP_REFUSED;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			return MJ_HTTP_TLS;
		case CURLE_OPERATION_TIMEDOUT:
			return classify_timeout(call);
		case CURLE_WRITE_ERROR: /* we had enough */
			return call->response.error;
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
			return MJ_HTTP_LOST;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
			return MJ_HTTP_CONNECT;
		default:
			return MJ_HTTP_PROTOCOL;
	}
}

/* A request comes to its end. */
static void
end_call(MjHttp *http, MjHttpCall *call)
{
	unlink_call(http, call);
	curl_multi_remove_handle(http->multi, call->easy);
	call->has_ended = true;
	call->next = http->ended;
	http->ended = call;
}

/* A request has ended: what came of it. */
static void
finish(MjHttp *http, MjHttpCall *call, CURLcode code)
{
	MjHttpResponse *response = &call->response;
	const char *why =
		call->curl_error[0] ? call->curl_error : curl_easy_strerror(code);
	long status = 0;
	curl_off_t wait_s = 0;

	response->error = classify(call, code);
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	response->status = (int) status;
	if (curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &wait_s) ==
			CURLE_OK &&
		wait_s > 0)
		response->retry_after_s = wait_s;
	if (response->error != MJ_HTTP_OK)
		mj_smtp_printable(response->detail, sizeof(response->detail), why,
						  strlen(why));
	end_call(http, call);
}

/* Take what libcurl has done. */
static void
look_for_ends(MjHttp *http)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		CURLcode code = msg->data.result;
		char *call = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
		finish(http, (MjHttpCall *) call, code);
	}
}

/*
 * Let libcurl go on, about one socket or about its timer.  All signals are
 * blocked meanwhile, so that a thread started here inherits that, and none of
 * the process's signals is ever delivered to it.
 */
static void
drive(MjHttp *http, curl_socket_t fd, int mask)
{
	sigset_t all;
	sigset_t before;
	int running;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	(void) curl_multi_socket_action(http->multi, fd, mask, &running);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A socket is ready; it may have been closed meanwhile. */
void
mj_http_ready(MjHttp *http, int fd, int events)
{
	drive(http, fd,
		  ((events & MJ_HTTP_READ) ? CURL_CSELECT_IN : 0) |
			  ((events & MJ_HTTP_WRITE) ? CURL_CSELECT_OUT : 0));
	look_for_ends(http);
}

/* Begin what was given, and do what time asks for. */
void
mj_http_go_on(MjHttp *http)
{
	/* a request that begins sets the timer to now; it may want several turns */
	for (int turns = 0;
		 turns < 100 && http->wake_at >= 0 && http->wake_at <= monotonic_ms();
		 turns++)
	{
		http->wake_at = -1;
		drive(http, CURL_SOCKET_TIMEOUT, 0);
	}
	look_for_ends(http);
}

/* The sockets to wait for; valid until libcurl is called again. */
int
mj_http_fds(const MjHttp *http, const MjHttpFd **fds)
{
	*fds = http->fds;
	return http->nfds;
}

/*
 * Another number says that sockets were opened or closed: the same number may
 * stand for another one since.
 */
int
mj_http_generation(const MjHttp *http)
{
	return http->generation;
}

/* For how long to wait at most, in ms; -1: no limit. */
long
mj_http_wait_ms(const MjHttp *http)
{
	if (http->ended != NULL)
		return 0;
	return http->wake_at < 0 ? -1 :
							   (long) Max(http->wake_at - monotonic_ms(), 0);
}

/*
 * Give up a request that is under way; it comes out as interrupted.  One that has
 * ended, but was not taken, comes out as it is.
 */
void
mj_http_abort(MjHttp *http, MjHttpCall *call)
{
	if (call->has_ended)
		return;
	call->response.error = MJ_HTTP_INTERRUPTED;
	end_call(http, call);
}

/*
 * The next request that has ended; false: none.  The caller frees the response
 * by mj_http_free_response().
 */
bool
mj_http_take(MjHttp *http, void **tag, MjHttpResponse *response)
{
	MjHttpCall *call = http->ended;

	if (call == NULL)
		return false;
	http->ended = call->next;
	*tag = call->tag;
	*response = call->response;
	call->response.body = NULL;
	call->next = http->spare;
	http->spare = call;
	return true;
}

/* Free what a response points to. */
void
mj_http_free_response(MjHttpResponse *response)
{
	free(response->body);
	response->body = NULL;
	response->length = 0;
}

/* ------------------------------------------------------------------------
 * All of them
 * ------------------------------------------------------------------------
 */

/*
 * Start libcurl in this process.  In the server: never in the postmaster,
 * whose children would share what this sets up.
 */
static bool
start_libcurl(void)
{
	static bool started = false;

	if (!started)
		started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	return started;
}

/* For requests over at most so many kept connections; NULL: out of memory. */
MjHttp *
mj_http_new(int max_connections)
{
	MjHttp *http;
	CURLMcode code = CURLM_OK;

	if (!start_libcurl() || (http = calloc(1, sizeof(MjHttp))) == NULL)
		return NULL;
	http->wake_at = -1;
	http->multi = curl_multi_init();
	if (http->multi == NULL)
	{
		free(http);
		return NULL;
	}
	code |= curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION,
							  socket_callback);
	code |= curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	code |=
		curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, timer_callback);
	code |= curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	code |= curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS,
							  (long) max_connections);
	if (code == CURLM_OK)
		return http;
	mj_http_free(http);
	return NULL;
}

/* Free calls that are linked by next. */
static void
free_calls(MjHttpCall *call)
{
	while (call != NULL)
	{
		MjHttpCall *next = call->next;

		free_call(call);
		call = next;
	}
}

/* End all requests and connections, at once; in any state. */
void
mj_http_free(MjHttp *http)
{
	while (http->begun != NULL)
		mj_http_abort(http, http->begun);
	free_calls(http->ended);
	free_calls(http->spare);
	curl_multi_cleanup(http->multi);
	free(http->fds);
	free(http->opened);
	free(http);
}
