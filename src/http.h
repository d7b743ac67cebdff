/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP requests over libcurl, several at once, and what URLs they go to.
 *
 * Use: requests are begun; the caller waits for the sockets and the time that
 * mj_http_fds() and mj_http_wait_ms() name, and has mj_http_go_on() look at them;
 * what has ended comes out by mj_http_take().  Nothing here waits.
 *
 * Redirects are not followed, proxies and credentials of the environment not
 * used, other protocols not spoken; certificates are verified.
 *
 * What mj_http_new() has made is not PostgreSQL's memory: it is freed by
 * mj_http_free(), or ends with the process.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HTTP_H
#define MJ_HTTP_H

#include "pure.h"

#define MJ_HTTP_MAX_URL 2000 /* bytes */

/* A URL, taken apart. */
typedef struct MjHttpUrl
{
	bool tls;		/* https */
	char host[256]; /* lower case; IPv6 in brackets */
	int port;
	bool loopback; /* by its name */
} MjHttpUrl;

/* Why there was no complete answer. */
typedef enum MjHttpError
{
	MJ_HTTP_OK,			 /* there was */
	MJ_HTTP_REFUSED,	 /* by a rule of ours, nothing was sent */
	MJ_HTTP_CONNECT,	 /* name, route, port */
	MJ_HTTP_TLS,		 /* handshake, certificate */
	MJ_HTTP_LOST,		 /* the connection ended before the answer did */
	MJ_HTTP_PROTOCOL,	 /* what came is no HTTP */
	MJ_HTTP_TIMEOUT,	 /* no complete answer in time */
	MJ_HTTP_INTERRUPTED, /* given up by mj_http_abort() */
	MJ_HTTP_MEMORY
} MjHttpError;

/* A request.  What it points to must stay until it has ended. */
typedef struct MjHttpRequest
{
	const char *url;
	const char *method;
	const char *const *headers; /* "Name: value" */
	int nheaders;
	const char *body; /* NULL: none */
	size_t length;
	const char *ca_file; /* NULL or '': the system's */
	long connect_timeout_ms;
	long timeout_ms; /* of all of it */
	size_t most;	 /* bytes of an answer's body that are read */
	size_t kept;	 /* of these, that are kept */
} MjHttpRequest;

/* What became of it. */
typedef struct MjHttpResponse
{
	MjHttpError error;
	char detail[256];	 /* of an error: libcurl's words, printable */
	int status;			 /* 0: none came */
	char reason[64];	 /* words after the status, printable */
	char location[256];	 /* where a redirect leads, printable */
	int64 retry_after_s; /* -1: not said */
	char *body;			 /* as it came, a 0 behind it; malloc'ed; NULL: none */
	size_t length;		 /* of what is kept */
	bool cut;			 /* there was more */
} MjHttpResponse;

#define MJ_HTTP_READ 1
#define MJ_HTTP_WRITE 2

/* A socket to wait for. */
typedef struct MjHttpFd
{
	int fd;
	int events; /* MJ_HTTP_READ, MJ_HTTP_WRITE */
} MjHttpFd;

typedef struct MjHttp MjHttp;
typedef struct MjHttpCall MjHttpCall;

extern bool mj_http_parse_url(const char *url, MjHttpUrl *parsed,
							  MjProblem *problem);

extern MjHttp *mj_http_new(int max_connections); /* NULL: out of memory */
extern void mj_http_free(MjHttp *http);
extern MjHttpCall *mj_http_begin(MjHttp *http, const MjHttpRequest *request,
								 void *tag); /* NULL: out of memory */
extern int mj_http_fds(const MjHttp *http, const MjHttpFd **fds);
extern int mj_http_generation(const MjHttp *http);
extern long mj_http_wait_ms(const MjHttp *http); /* -1: no limit */
extern void mj_http_ready(MjHttp *http, int fd, int events);
extern void mj_http_go_on(MjHttp *http);
extern void mj_http_abort(MjHttp *http, MjHttpCall *call);
extern bool mj_http_take(MjHttp *http, void **tag, MjHttpResponse *response);
extern void mj_http_free_response(MjHttpResponse *response);

#endif /* MJ_HTTP_H */
