/*-------------------------------------------------------------------------
 *
 * smtp.c
 *	  A connection to an SMTP server, over libcurl.
 *
 * libcurl does what is hard about a connection: name resolution, TLS,
 * STARTTLS, AUTH (CURLOPT_CONNECT_ONLY).  The dialogue on top is that of
 * smtp_dialogue, over curl_easy_send and curl_easy_recv, non-blocking.  Every
 * wait is the caller's, who may have several connections in one loop.  What
 * libcurl leaves open is closed here: that it goes on unauthenticated if the
 * server does not offer AUTH, and that a thread of its resolver could take the
 * process's signals.
 *
 * This and http.c are the only files that include curl.h.  libcurl's callbacks below do
 * nothing but note what they are told: no palloc, no ereport, no waiting.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/base64.h"

#include "smtp.h"

#define QUIT_TIMEOUT 1000  /* ms at most for a polite end */
#define MAX_SECRET 6000	   /* bytes of a secret kept to be masked */
#define MAX_SECRETS 3	   /* AUTH sends at most so many lines */
#define MIN_MASKED 8	   /* bytes of a secret whose end was cut off */
#define CHUNKS_PER_POLL 64 /* sends without a look at interrupts */

/* What is learnt from libcurl's trace while it connects */
typedef struct Watch
{
	MjReplyParser parser;
	bool proxied; /* what comes is a proxy's answer, up to an empty line */
	bool garbage; /* the parser gave up */
	bool greeted; /* 220 */
	bool starttls_sent;
	bool tls_begun;
	bool auth_sent;
	bool auth_ok; /* 235 after AUTH */
	char greeting[256];
	char tls[128];	  /* "TLSv1.3 / TLS_AES_256_GCM_SHA384" */
	MjSmtpReply last; /* the last complete reply */
	int nsecrets;
	char secrets[MAX_SECRETS][MAX_SECRET]; /* what AUTH sent */
} Watch;

struct MjSmtp
{
	char *url; /* copies of the configuration */
	char *user;
	char *password;
	char *ca_file;
	char *helo;
	char *proxy;
	bool bearer; /* the password is a bearer token */
	MjSmtpTls tls;
	int timeout_ms;
	MjSmtpWait wait;
	void *wait_arg;

	CURLM *multi;
	CURL *easy;
	bool added;	   /* easy is in multi */
	CURLcode code; /* of the connecting, once done */
	bool done;
	MjSmtpPhase phase;
	bool smtps;
	MjSmtpResult failure;		   /* why it could not be opened */
	int64 deadline;				   /* of what is under way */
	curl_socket_t socket;		   /* of the connection, once open */
	MjSmtpFd fds[MJ_SMTP_MAX_FDS]; /* libcurl's while connecting */
	int nfds;
	int64 wake_at; /* when libcurl wants to be called, or -1 */
	char curl_error[CURL_ERROR_SIZE];
	Watch watch;
	MjDialogue dialogue;
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
 * Configuration
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

static bool
is_empty(const char *s)
{
	return s == NULL || *s == '\0';
}

/*
 * Does this URL have the part?
 */
static bool
url_has(CURLU *handle, CURLUPart part)
{
	char *value = NULL;
	bool has;

	if (curl_url_get(handle, part, &value, 0) != CURLUE_OK)
		return false;
	has =
		*value != '\0' && !(part == CURLUPART_PATH && strcmp(value, "/") == 0);
	curl_free(value);
	return has;
}

static bool
url_copy(CURLU *handle, CURLUPart part, char *to, size_t size)
{
	char *value = NULL;
	bool ok;

	if (curl_url_get(handle, part, &value, 0) != CURLUE_OK)
		return false;
	ok = *value != '\0' && strlcpy(to, value, size) < size;
	curl_free(value);
	return ok;
}

/*
 * Judge the parts of a URL that libcurl took apart.
 */
static bool
take_url(CURLU *handle, MjSmtpUrl *parsed, MjProblem *problem)
{
	char scheme[16];
	char port[8];

	if (!url_copy(handle, CURLUPART_SCHEME, scheme, sizeof(scheme)) ||
		(strcmp(scheme, "smtp") != 0 && strcmp(scheme, "smtps") != 0))
		return refuse(problem, "SMTP URL has a scheme that is not supported",
					  "Write smtp://host:port or smtps://host:port.");
	if (url_has(handle, CURLUPART_USER) || url_has(handle, CURLUPART_PASSWORD))
		return refuse(problem,
					  "SMTP URL must not contain a user name or password",
					  "They have settings of their own.");
	if (url_has(handle, CURLUPART_PATH) || url_has(handle, CURLUPART_QUERY) ||
		url_has(handle, CURLUPART_FRAGMENT) ||
		url_has(handle, CURLUPART_OPTIONS))
		return refuse(problem, "SMTP URL has more than host and port",
					  "Write smtp://host:port or smtps://host:port.");
	if (!url_copy(handle, CURLUPART_HOST, parsed->host, sizeof(parsed->host)))
		return refuse(problem, "SMTP URL has no valid host name", NULL);

	parsed->tls = strcmp(scheme, "smtps") == 0;
	parsed->port = parsed->tls ? 465 : 25;
	if (url_copy(handle, CURLUPART_PORT, port, sizeof(port)))
		parsed->port = atoi(port);
	if (parsed->port == 0)
		return refuse(problem, "SMTP URL has an invalid port", NULL);
	parsed->loopback = pg_strcasecmp(parsed->host, "localhost") == 0 ||
		strcmp(parsed->host, "[::1]") == 0 ||
		(strncmp(parsed->host, "127.", 4) == 0 &&
		 strspn(parsed->host, "0123456789.") == strlen(parsed->host));
	return true;
}

/*
 * Take a URL apart; refuses everything but smtp:// and smtps:// with host and
 * optional port.  Messages do not repeat the URL, which could hold a password.
 * May be called anywhere, also where no connection may be opened.
 */
bool
mj_smtp_parse_url(const char *url, MjSmtpUrl *parsed, MjProblem *problem)
{
	CURLU *handle;
	CURLUcode code;
	bool ok = false;

	memset(parsed, 0, sizeof(*parsed));
	if (is_empty(url))
		return refuse(problem, "SMTP URL is empty", NULL);
	if (strlen(url) > 1024)
		return refuse(problem, "SMTP URL is too long", NULL);
	/* libcurl would guess a missing scheme from the host's name */
	if (strstr(url, "://") == NULL)
		return refuse(problem, "SMTP URL has no scheme",
					  "Write smtp://host:port or smtps://host:port.");
	handle = curl_url();
	if (handle == NULL)
		return refuse(problem, "out of memory", NULL);
	code = curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_OK)
		ok = take_url(handle, parsed, problem);
	else
		refuse(problem, "SMTP URL is malformed",
			   "Write smtp://host:port or smtps://host:port.");
	curl_url_cleanup(handle);
	return ok;
}

/*
 * Is this the URL of a proxy, without credentials?  Messages do not repeat it.
 */
bool
mj_smtp_check_proxy(const char *url, MjProblem *problem)
{
	static const char *const schemes[] = { "http",	  "https",	"socks4",
										   "socks4a", "socks5", "socks5h" };
	CURLU *handle = curl_url();
	char scheme[16];
	bool ok = false;

	if (handle == NULL)
		return refuse(problem, "out of memory", NULL);
	if (strstr(url, "://") != NULL &&
		curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) ==
			CURLUE_OK &&
		url_copy(handle, CURLUPART_SCHEME, scheme, sizeof(scheme)))
		for (size_t i = 0; i < lengthof(schemes); i++)
			ok |= strcmp(scheme, schemes[i]) == 0;
	ok = ok && !url_has(handle, CURLUPART_USER) &&
		!url_has(handle, CURLUPART_PASSWORD) &&
		!url_has(handle, CURLUPART_PATH) && !url_has(handle, CURLUPART_QUERY) &&
		!url_has(handle, CURLUPART_FRAGMENT);
	curl_url_cleanup(handle);
	return ok ||
		refuse(problem, "proxy URL cannot be used",
			   "Write http://host:port or socks5h://host:port, without user and password.");
}

static bool
check_helo(const char *helo, MjProblem *problem)
{
	size_t length = strlen(helo);

	if (length > 253 ||
		strspn(helo,
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			   "0123456789-._:[]") != length)
		return refuse(problem, "invalid name of this host for SMTP", NULL);
	return true;
}

/*
 * Check a configuration without connecting.  mj_smtp_open does the same.
 */
bool
mj_smtp_check_config(const MjSmtpConfig *config, MjProblem *problem)
{
	MjSmtpUrl parsed;

	if (!mj_smtp_parse_url(config->url, &parsed, problem))
		return false;
	if (!is_empty(config->user) && is_empty(config->password))
		return refuse(problem, "SMTP user is set, but the password is missing",
					  NULL);
	if (is_empty(config->user) && !is_empty(config->password))
		return refuse(problem, "SMTP password is set, but the user is missing",
					  NULL);
	if (config->timeout_ms <= 0)
		return refuse(problem, "SMTP timeout must be positive", NULL);
	if (config->bearer && is_empty(config->user))
		return refuse(problem,
					  "SMTP bearer token is set, but the user is missing",
					  NULL);
	if (!is_empty(config->proxy) &&
		!mj_smtp_check_proxy(config->proxy, problem))
		return false;
	return is_empty(config->helo) || check_helo(config->helo, problem);
}

/* ------------------------------------------------------------------------
 * libcurl's callbacks
 * ------------------------------------------------------------------------
 */

/*
 * libcurl wants (or no longer wants) to know about this socket.
 */
static int
socket_callback(CURL *easy, curl_socket_t fd, int what, void *arg,
				void *socket_arg)
{
	MjSmtp *smtp = arg;
	int i = 0;

	while (i < smtp->nfds && smtp->fds[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < smtp->nfds)
			smtp->fds[i] = smtp->fds[--smtp->nfds];
		return 0;
	}
	if (i == MJ_SMTP_MAX_FDS)
		return -1;
	if (i == smtp->nfds)
		smtp->nfds++;
	smtp->fds[i].fd = fd;
	smtp->fds[i].events = ((what & CURL_POLL_IN) ? MJ_SMTP_READ : 0) |
		((what & CURL_POLL_OUT) ? MJ_SMTP_WRITE : 0);
	return 0;
}

static int
timer_callback(CURLM *multi, long timeout_ms, void *arg)
{
	MjSmtp *smtp = arg;

	smtp->wake_at = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
	return 0;
}

/*
 * A server's line: follow the replies, to know how far connecting came.
 */
static void
watch_reply(Watch *watch, const char *bytes, size_t length)
{
	if (watch->proxied)
	{
		watch->proxied = bytes[0] != '\r' && bytes[0] != '\n';
		return;
	}
	while (length > 0 && !watch->garbage)
	{
		size_t consumed;
		MjReplyStatus status;

		status = mj_reply_feed(&watch->parser, bytes, length, &consumed);
		bytes += consumed;
		length -= consumed;
		if (status == MJ_REPLY_BAD)
			watch->garbage = true;
		if (status != MJ_REPLY_DONE)
			continue;
		watch->last = watch->parser.reply;
		if (!watch->greeted && watch->last.code == 220)
		{
			watch->greeted = true;
			strlcpy(watch->greeting, watch->last.text, sizeof(watch->greeting));
		}
		if (watch->auth_sent && watch->last.code == 235)
			watch->auth_ok = true;
		mj_reply_init(&watch->parser);
	}
}

/*
 * A line of ours: from AUTH on, remember what must not be shown if the server
 * repeats it.
 */
static void
watch_command(Watch *watch, const char *bytes, size_t length)
{
	size_t skip = 0;

	while (length > 0 &&
		   (bytes[length - 1] == '\n' || bytes[length - 1] == '\r'))
		length--;
	if (length >= 8 && memcmp(bytes, "STARTTLS", 8) == 0)
		watch->starttls_sent = watch->tls_begun = true;
	if (length >= 5 && memcmp(bytes, "AUTH ", 5) == 0)
	{
		watch->auth_sent = true;
		for (int blanks = 0; skip < length && blanks < 2; skip++)
			blanks += bytes[skip] == ' ';
	}
	length -= skip;
	if (watch->auth_sent && length > 0 && length < MAX_SECRET &&
		watch->nsecrets < MAX_SECRETS)
	{
		memcpy(watch->secrets[watch->nsecrets], bytes + skip, length);
		watch->secrets[watch->nsecrets++][length] = '\0';
	}
}

/*
 * libcurl's trace tells which TLS was agreed on, in words only.
 */
static void
watch_text(Watch *watch, const char *bytes, size_t length)
{
	static const char prefix[] = "SSL connection using ";
	size_t skip = sizeof(prefix) - 1;

	while (length > 0 && bytes[length - 1] == '\n')
		length--;
	if (length > skip && memcmp(bytes, prefix, skip) == 0)
	{
		watch->tls_begun = true;
		mj_smtp_printable(watch->tls, sizeof(watch->tls), bytes + skip,
						  length - skip);
	}
	else if (length > 4 && memcmp(bytes, "TLSv", 4) == 0)
		watch->tls_begun = true;
}

static int
debug_callback(CURL *easy, curl_infotype type, char *bytes, size_t length,
			   void *arg)
{
	MjSmtp *smtp = arg;

	if (type == CURLINFO_HEADER_IN)
		watch_reply(&smtp->watch, bytes, length);
	else if (type == CURLINFO_HEADER_OUT)
		watch_command(&smtp->watch, bytes, length);
	else if (type == CURLINFO_TEXT)
		watch_text(&smtp->watch, bytes, length);
	return 0;
}

/* ------------------------------------------------------------------------
 * Results
 * ------------------------------------------------------------------------
 */

/*
 * Overwrite a secret at the end of a text that was cut within it.
 */
static void
mask_cut(char *text, const char *secret, size_t length)
{
	size_t total = strlen(text);
	size_t n = Min(length - 1, total);

	for (; n >= MIN_MASKED; n--)
	{
		if (memcmp(text + total - n, secret, n) != 0)
			continue;
		memset(text + total - n, '*', n);
		return;
	}
}

/*
 * Overwrite every occurrence of a secret.  (A short one would blank out half
 * of what the server says, and is no secret.)
 */
static void
mask(char *text, const char *secret)
{
	size_t length = secret ? strlen(secret) : 0;
	char *at = text;

	if (length < 4)
		return;
	while ((at = strstr(at, secret)) != NULL)
	{
		memset(at, '*', length);
		at += length;
	}
	mask_cut(text, secret, length);
}

/*
 * Overwrite a password as another mechanism would have encoded it: alone.
 */
static void
mask_encoded(char *text, const char *password)
{
	char encoded[MAX_SECRET];
	int length = (int) strlen(password);

	if (pg_b64_enc_len(length) >= (int) sizeof(encoded))
		return;
	/* the type of bytes is not the same in all server versions */
	length = pg_b64_encode((const void *) password, length, encoded,
						   sizeof(encoded) - 1);
	if (length < 0)
		return;
	encoded[length] = '\0';
	mask(text, encoded);
	explicit_bzero(encoded, sizeof(encoded));
}

/*
 * The user's password must not come back in an error, even if the server says
 * it, as it was or as AUTH encodes it.
 */
static void
mask_secrets(const MjSmtp *smtp, char *text)
{
	char shown[MAX_SECRET];

	/* as it looks after mj_smtp_printable */
	if (smtp->password)
	{
		mj_smtp_printable(shown, sizeof(shown), smtp->password,
						  strlen(smtp->password));
		mask(text, shown);
		explicit_bzero(shown, sizeof(shown));
		mask_encoded(text, smtp->password);
	}
	for (int i = 0; i < smtp->watch.nsecrets; i++)
		mask(text, smtp->watch.secrets[i]);
}

static void
mask_result(const MjSmtp *smtp, MjSmtpResult *result)
{
	mask_secrets(smtp, result->reply.text);
	mask_secrets(smtp, result->message);
	mask_secrets(smtp, result->detail);
}

/*
 * Fill a result that says that there is no connection; returns false.
 */
static bool
fail(MjSmtpResult *result, MjSmtpError error, const char *message,
	 const char *detail)
{
	memset(result, 0, sizeof(*result));
	result->outcome =
		error == MJ_SMTP_ERR_INTERRUPTED ? MJ_SMTP_INTERRUPTED : MJ_SMTP_LOST;
	result->error = error;
	result->recipient = MJ_SMTP_ABOUT_ALL;
	strlcpy(result->message, message, sizeof(result->message));
	strlcpy(result->detail, detail, sizeof(result->detail));
	return false;
}

/*
 * Which step was under way when connecting ended?
 */
static int
current_step(const MjSmtp *smtp)
{
	const Watch *watch = &smtp->watch;

	if (watch->auth_sent)
		return 2;
	if (watch->tls_begun && watch->tls[0] == '\0')
		return 1;
	return 0;
}

/*
 * The class of libcurl's error.
 */
static MjSmtpError
classify(const MjSmtp *smtp)
{
	switch (smtp->code)
	{
		case CURLE_OUT_OF_MEMORY:
			return MJ_SMTP_ERR_MEMORY;
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
		case CURLE_BAD_FUNCTION_ARGUMENT:
			return MJ_SMTP_ERR_CONFIG;
		case CURLE_USE_SSL_FAILED:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			return MJ_SMTP_ERR_TLS;
		case CURLE_LOGIN_DENIED:
			return MJ_SMTP_ERR_AUTH;
		case CURLE_WEIRD_SERVER_REPLY:
			return smtp->watch.last.code >= 400 && !smtp->watch.garbage ?
				MJ_SMTP_ERR_REFUSED :
				MJ_SMTP_ERR_PROTOCOL;
		case CURLE_OPERATION_TIMEDOUT:
			return smtp->watch.greeted ? MJ_SMTP_ERR_TIMEOUT :
										 MJ_SMTP_ERR_CONNECT;
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
		case CURLE_GOT_NOTHING:
			if (current_step(smtp) == 1)
				return MJ_SMTP_ERR_TLS;
			return MJ_SMTP_ERR_LOST;
		default:
			return MJ_SMTP_ERR_CONNECT;
	}
}

/*
 * libcurl gave up connecting: say why.
 */
static bool
fail_curl(MjSmtp *smtp, MjSmtpResult *result)
{
	static const char *const messages[] = {
		[MJ_SMTP_ERR_CONFIG] = "SMTP settings are not usable",
		[MJ_SMTP_ERR_CONNECT] = "could not connect to SMTP server",
		[MJ_SMTP_ERR_TLS] = "could not secure the SMTP connection",
		[MJ_SMTP_ERR_AUTH] = "could not log in to SMTP server",
		[MJ_SMTP_ERR_REFUSED] = "SMTP server refused the connection",
		[MJ_SMTP_ERR_PROTOCOL] = "SMTP server broke the protocol",
		[MJ_SMTP_ERR_TIMEOUT] = "SMTP server did not answer in time",
		[MJ_SMTP_ERR_LOST] = "SMTP server closed the connection",
		[MJ_SMTP_ERR_MEMORY] = "out of memory",
	};
	MjSmtpError error = classify(smtp);
	const char *why =
		smtp->curl_error[0] ? smtp->curl_error : curl_easy_strerror(smtp->code);
	char reason[256];

	fail(result, error, messages[error], "");
	mj_smtp_printable(reason, sizeof(reason), why, strlen(why));
	if (strlen(reason) > 0 && reason[strlen(reason) - 1] == '.')
		reason[strlen(reason) - 1] = '\0';
	if (smtp->watch.last.code >= 400)
	{
		result->reply = smtp->watch.last;
		snprintf(result->detail, sizeof(result->detail),
				 "The server said: %d %s", result->reply.code,
				 result->reply.text);
	}
	else
		snprintf(result->detail, sizeof(result->detail), "The reason is: %s.",
				 reason);
	mask_result(smtp, result);
	return false;
}

static bool
fail_timeout(MjSmtp *smtp, MjSmtpResult *result)
{
	static const char *const steps[] = { "connecting", "TLS", "AUTH" };
	char detail[128];

	snprintf(detail, sizeof(detail),
			 "There was no complete answer within %d ms, in step: %s.",
			 smtp->timeout_ms, steps[current_step(smtp)]);
	if (smtp->watch.greeted)
		return fail(result, MJ_SMTP_ERR_TIMEOUT,
					"SMTP server did not answer in time", detail);
	return fail(result, MJ_SMTP_ERR_CONNECT, "could not connect to SMTP server",
				detail);
}

static bool
fail_garbage(MjSmtp *smtp, MjSmtpResult *result)
{
	char detail[256];

	snprintf(detail, sizeof(detail), "The reason is: %s.",
			 smtp->watch.parser.complaint);
	return fail(result, MJ_SMTP_ERR_PROTOCOL, "SMTP server broke the protocol",
				detail);
}

/* ------------------------------------------------------------------------
 * Connecting
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

static char *
copy_string(const char *s, bool *ok)
{
	char *copy;

	if (is_empty(s))
		return NULL;
	copy = strdup(s);
	if (copy == NULL)
		*ok = false;
	return copy;
}

/*
 * Make a connection object; nothing is opened or checked yet.  NULL if out of
 * memory.  See smtp.h for who has to free it.
 */
MjSmtp *
mj_smtp_new(const MjSmtpConfig *config, MjSmtpWait wait, void *arg)
{
	MjSmtp *smtp;
	bool ok = true;

	if (!start_libcurl())
		return NULL;
	smtp = calloc(1, sizeof(*smtp));
	if (smtp == NULL)
		return NULL;
	smtp->url = copy_string(config->url, &ok);
	smtp->user = copy_string(config->user, &ok);
	smtp->password = copy_string(config->password, &ok);
	smtp->ca_file = copy_string(config->ca_file, &ok);
	smtp->helo = copy_string(config->helo, &ok);
	smtp->proxy = copy_string(config->proxy, &ok);
	smtp->bearer = config->bearer;
	smtp->tls = config->tls;
	smtp->timeout_ms = config->timeout_ms;
	smtp->wait = wait;
	smtp->wait_arg = arg;
	smtp->wake_at = -1;
	smtp->socket = CURL_SOCKET_BAD;
	mj_reply_init(&smtp->watch.parser);
	mj_dialogue_init(&smtp->dialogue);
	smtp->multi = curl_multi_init();
	smtp->easy = curl_easy_init();
	if (!ok || smtp->multi == NULL || smtp->easy == NULL)
	{
		mj_smtp_close(smtp);
		return NULL;
	}
	return smtp;
}

/*
 * The name by which this host says hello
 */
static void
helo_name(const MjSmtp *smtp, char *name, size_t size)
{
	MjProblem ignored;

	if (smtp->helo)
	{
		strlcpy(name, smtp->helo, size);
		return;
	}
	if (gethostname(name, size) != 0)
		name[0] = '\0';
	name[size - 1] = '\0';
	if (name[0] == '\0' || !check_helo(name, &ignored))
		strlcpy(name, "localhost", size);
}

/*
 * The URL for libcurl, whose path is the name for its own EHLO
 */
static CURLcode
set_url(MjSmtp *smtp, const MjSmtpUrl *parsed)
{
	char name[256];
	char url[2048];
	char *escaped;

	helo_name(smtp, name, sizeof(name));
	escaped = curl_easy_escape(smtp->easy, name, 0);
	if (escaped == NULL)
		return CURLE_OUT_OF_MEMORY;
	snprintf(url, sizeof(url), "%s://%s:%d/%s", parsed->tls ? "smtps" : "smtp",
			 parsed->host, parsed->port, escaped);
	curl_free(escaped);
	return curl_easy_setopt(smtp->easy, CURLOPT_URL, url);
}

/*
 * Options for AUTH.
 */
static CURLcode
set_credentials(MjSmtp *smtp)
{
	CURL *easy = smtp->easy;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(easy, CURLOPT_USERNAME, smtp->user);
	if (smtp->bearer)
		code |= curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, smtp->password);
	else
		code |= curl_easy_setopt(easy, CURLOPT_PASSWORD, smtp->password);
	code |= curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS,
							 smtp->bearer ? "AUTH=XOAUTH2" :
											"AUTH=PLAIN;AUTH=LOGIN");
	code |= curl_easy_setopt(easy, CURLOPT_SASL_IR, 1L);
	return code;
}

/*
 * Options that concern who may be talked to, and how.
 */
static CURLcode
set_security(MjSmtp *smtp)
{
	CURL *easy = smtp->easy;
	CURLcode code = CURLE_OK;

#if LIBCURL_VERSION_NUM >= 0x075500
	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
#else
	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
							 (long) (CURLPROTO_SMTP | CURLPROTO_SMTPS));
#endif
	code |=
		curl_easy_setopt(easy, CURLOPT_USE_SSL,
						 smtp->tls == MJ_SMTP_TLS_OFF ? (long) CURLUSESSL_NONE :
														(long) CURLUSESSL_ALL);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	code |= curl_easy_setopt(easy, CURLOPT_SSLVERSION,
							 (long) CURL_SSLVERSION_TLSv1_2);
	if (smtp->ca_file)
	{
		/* this one instead of the system's, not beside them */
		code |= curl_easy_setopt(easy, CURLOPT_CAINFO, smtp->ca_file);
		code |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	/* no proxy and no credentials from the environment */
	code |=
		curl_easy_setopt(easy, CURLOPT_PROXY, smtp->proxy ? smtp->proxy : "");
	code |= curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	code |= curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	return smtp->user ? code | set_credentials(smtp) : code;
}

/*
 * Options that concern libcurl's behaviour in this process.
 */
static CURLcode
set_behaviour(MjSmtp *smtp)
{
	CURL *easy = smtp->easy;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* do not join the resolver's thread when giving up */
	code |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
							 (long) smtp->timeout_ms);
	code |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, smtp->curl_error);
	code |= curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, debug_callback);
	code |= curl_easy_setopt(easy, CURLOPT_DEBUGDATA, smtp);
	return code;
}

static bool
set_options(MjSmtp *smtp, const MjSmtpUrl *parsed)
{
	CURLM *multi = smtp->multi;
	CURLMcode mcode = CURLM_OK;

	if (set_url(smtp, parsed) != CURLE_OK || set_security(smtp) != CURLE_OK ||
		set_behaviour(smtp) != CURLE_OK)
		return false;
	mcode |= curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_callback);
	mcode |= curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, smtp);
	mcode |= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_callback);
	mcode |= curl_multi_setopt(multi, CURLMOPT_TIMERDATA, smtp);
	if (mcode != CURLM_OK)
		return false;
	smtp->added = curl_multi_add_handle(multi, smtp->easy) == CURLM_OK;
	return smtp->added;
}

/*
 * Let libcurl go on, about one socket or about its timer.  All signals are
 * blocked meanwhile, so that a thread started here inherits that, and none of
 * the process's signals is ever delivered to it.
 */
static bool
drive(MjSmtp *smtp, curl_socket_t fd)
{
	sigset_t all;
	sigset_t before;
	int running;
	CURLMcode mcode;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	mcode = curl_multi_socket_action(smtp->multi, fd, 0, &running);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return mcode == CURLM_OK;
}

/*
 * Did libcurl finish connecting?
 */
static void
look_for_end(MjSmtp *smtp)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(smtp->multi, &left)) != NULL)
	{
		if (msg->msg == CURLMSG_DONE)
		{
			smtp->done = true;
			smtp->code = msg->data.result;
		}
	}
}

/*
 * Let libcurl go on, about whatever of its sockets is ready, and its timer.
 */
static void
connect_step(MjSmtp *smtp)
{
	MjSmtpFd fds[MJ_SMTP_MAX_FDS];
	int nfds = smtp->nfds;
	bool ok = true;

	memcpy(fds, smtp->fds, sizeof(fds));
	for (int i = 0; i < nfds && ok; i++)
		ok = drive(smtp, fds[i].fd);
	if (ok && smtp->wake_at >= 0 && smtp->wake_at <= monotonic_ms())
	{
		smtp->wake_at = -1;
		ok = drive(smtp, CURL_SOCKET_TIMEOUT);
	}
	look_for_end(smtp);
	if (!ok)
	{
		smtp->done = true;
		smtp->code = CURLE_FAILED_INIT;
	}
}

/*
 * Trust, but verify: libcurl goes on in plain text or without authentication
 * under conditions that its options do not cover, or might not some day.
 */
static bool
verify_connection(MjSmtp *smtp, MjSmtpResult *result)
{
	curl_easy_getinfo(smtp->easy, CURLINFO_ACTIVESOCKET, &smtp->socket);
	if (smtp->socket == CURL_SOCKET_BAD)
		return fail(result, MJ_SMTP_ERR_LOST,
					"SMTP server closed the connection", "");
	if (!smtp->smtps && smtp->tls == MJ_SMTP_TLS_REQUIRE &&
		!smtp->watch.starttls_sent)
		return fail(result, MJ_SMTP_ERR_TLS,
					"could not secure the SMTP connection",
					"The server did not begin TLS.");
	if (smtp->user && !smtp->watch.auth_ok)
		return fail(result, MJ_SMTP_ERR_AUTH, "could not log in to SMTP server",
					"A user is set, but the server does not offer AUTH.");
	return true;
}

/*
 * Libcurl has connected: ask the server what it offers, for what libcurl's own
 * EHLO brought is lost.
 */
static void
say_hello(MjSmtp *smtp)
{
	char name[256];

	helo_name(smtp, name, sizeof(name));
	mj_dialogue_hello(&smtp->dialogue, name);
	smtp->phase = MJ_SMTP_GREETING;
	smtp->deadline = monotonic_ms() + smtp->timeout_ms;
}

/*
 * From name resolution to AUTH, as far as it goes now.
 */
static void
connect_on(MjSmtp *smtp)
{
	MjSmtpResult *failure = &smtp->failure;
	bool ok = true;

	connect_step(smtp);
	if (smtp->watch.garbage)
		/* libcurl would skip it and wait for something better */
		ok = fail_garbage(smtp, failure);
	else if (!smtp->done && monotonic_ms() >= smtp->deadline)
		ok = fail_timeout(smtp, failure);
	else if (smtp->done && smtp->code != CURLE_OK)
		ok = fail_curl(smtp, failure);
	else if (smtp->done)
		ok = verify_connection(smtp, failure);
	if (!ok)
		smtp->phase = MJ_SMTP_CLOSED;
	else if (smtp->done)
		say_hello(smtp);
}

/* ------------------------------------------------------------------------
 * Talking
 * ------------------------------------------------------------------------
 */

/*
 * Something has moved: there is time again.  timeout_ms is the time for each
 * reply to be complete, from the command's last byte on, and for anything to be
 * taken by the network: a server that drips bytes wins nothing.
 */
static void
note_progress(MjSmtp *smtp)
{
	smtp->deadline = monotonic_ms() + smtp->timeout_ms;
}

/*
 * Take in what has come, until there is no more: TLS may hold bytes that the
 * socket does not show.
 */
static void
pull(MjSmtp *smtp)
{
	MjDialogue *dialogue = &smtp->dialogue;
	int replies = dialogue->nreplies;
	bool more = true;
	char buffer[4096];
	size_t n;
	CURLcode code;

	while (more && !dialogue->closed)
	{
		code = curl_easy_recv(smtp->easy, buffer, sizeof(buffer), &n);
		if (code == CURLE_AGAIN)
			break;
		if (code != CURLE_OK || n == 0)
			mj_dialogue_broken(dialogue, MJ_SMTP_ERR_LOST,
							   "SMTP server closed the connection");
		else
			mj_dialogue_received(dialogue, buffer, n);
		more = n == sizeof(buffer) || smtp->watch.tls_begun;
	}
	if (dialogue->nreplies != replies)
		note_progress(smtp);
}

/*
 * Send what is due, as far as the network takes it now.
 */
static void
push(MjSmtp *smtp)
{
	MjDialogue *dialogue = &smtp->dialogue;
	const char *bytes;
	size_t length;
	bool moved = false;

	for (int i = 0; i < CHUNKS_PER_POLL; i++)
	{
		size_t n = 0;
		CURLcode code;

		length = mj_dialogue_output(dialogue, &bytes);
		if (length == 0)
			break;
		code = curl_easy_send(smtp->easy, bytes, length, &n);
		if (code == CURLE_AGAIN)
			break;
		if (code != CURLE_OK)
		{
			/* the server's last words may say why */
			pull(smtp);
			mj_dialogue_broken(dialogue, MJ_SMTP_ERR_LOST,
							   "SMTP connection was lost while sending");
			break;
		}
		mj_dialogue_sent(dialogue, n);
		moved = true;
	}
	if (moved)
		note_progress(smtp);
}

/*
 * Give up what did not move in time; not before a last look, for this process
 * may have been elsewhere.
 */
static void
look_at_clock(MjSmtp *smtp)
{
	MjDialogue *dialogue = &smtp->dialogue;

	if (!mj_dialogue_busy(dialogue) || monotonic_ms() < smtp->deadline)
		return;
	pull(smtp);
	if (mj_dialogue_busy(dialogue) && monotonic_ms() >= smtp->deadline)
		mj_dialogue_broken(dialogue, MJ_SMTP_ERR_TIMEOUT,
						   "SMTP server did not answer in time");
}

/*
 * EHLO is through.  A server that has closed the connection with the reply to it
 * never was there for a message.
 */
static void
end_greeting(MjSmtp *smtp)
{
	const MjDialogue *dialogue = &smtp->dialogue;

	smtp->failure = dialogue->result;
	if (dialogue->greeted && dialogue->closed)
		(void) fail(&smtp->failure, MJ_SMTP_ERR_LOST,
					"SMTP server closed the connection",
					"This happened right after EHLO.");
	mask_result(smtp, &smtp->failure);
	smtp->phase = dialogue->closed ? MJ_SMTP_CLOSED : MJ_SMTP_OPEN;
}

/*
 * See whether the phase is over.
 */
static void
look_at_phase(MjSmtp *smtp)
{
	if (smtp->phase == MJ_SMTP_GREETING && !mj_dialogue_busy(&smtp->dialogue))
		end_greeting(smtp);
	if (smtp->phase == MJ_SMTP_OPEN && smtp->dialogue.closed)
		smtp->phase = MJ_SMTP_CLOSED;
}

/* ------------------------------------------------------------------------
 * Interface: without waiting
 * ------------------------------------------------------------------------
 */

/*
 * Begin to connect, secure and log in.  Once per object.  The phase tells how
 * far it is, from here on.
 */
void
mj_smtp_begin(MjSmtp *smtp)
{
	MjSmtpConfig config = { 0 };
	MjSmtpUrl parsed;
	MjProblem problem;

	config.url = smtp->url;
	config.user = smtp->user;
	config.password = smtp->password;
	config.timeout_ms = smtp->timeout_ms;
	config.helo = smtp->helo;
	config.proxy = smtp->proxy;
	config.bearer = smtp->bearer;
	smtp->phase = MJ_SMTP_CLOSED;
	if (!mj_smtp_check_config(&config, &problem) ||
		!mj_smtp_parse_url(smtp->url, &parsed, &problem))
	{
		fail(&smtp->failure, MJ_SMTP_ERR_CONFIG, problem.message,
			 problem.detail);
		return;
	}
	smtp->smtps = parsed.tls;
	smtp->watch.proxied =
		smtp->proxy && pg_strncasecmp(smtp->proxy, "http", 4) == 0;
	if (!set_options(smtp, &parsed))
	{
		fail(&smtp->failure, MJ_SMTP_ERR_MEMORY,
			 "could not set up the SMTP connection", "");
		return;
	}
	smtp->phase = MJ_SMTP_CONNECTING;
	smtp->deadline = monotonic_ms() + smtp->timeout_ms;
	drive(smtp, CURL_SOCKET_TIMEOUT);
	connect_on(smtp);
}

/*
 * Hear what has come, if any of the sockets may be readable.  In any phase.
 */
void
mj_smtp_hear(MjSmtp *smtp)
{
	if (smtp->phase == MJ_SMTP_CONNECTING)
		connect_on(smtp);
	else if (smtp->phase != MJ_SMTP_CLOSED)
		pull(smtp);
	look_at_phase(smtp);
}

/*
 * Say what is due, and see to the time-outs.  In any phase.
 */
void
mj_smtp_say(MjSmtp *smtp)
{
	if (smtp->phase == MJ_SMTP_CONNECTING)
		connect_on(smtp);
	if (smtp->phase == MJ_SMTP_GREETING || smtp->phase == MJ_SMTP_OPEN)
	{
		push(smtp);
		look_at_clock(smtp);
	}
	look_at_phase(smtp);
}

/*
 * How far is it?
 */
MjSmtpPhase
mj_smtp_phase(const MjSmtp *smtp)
{
	return smtp->phase;
}

/*
 * Why it could not be opened; of a closed connection that never was open.
 */
const MjSmtpResult *
mj_smtp_failure(const MjSmtp *smtp)
{
	return &smtp->failure;
}

/*
 * The sockets to wait for, in fds[MJ_SMTP_MAX_FDS]; returns how many.
 */
int
mj_smtp_fds(MjSmtp *smtp, MjSmtpFd *fds)
{
	const char *bytes;

	if (smtp->phase == MJ_SMTP_CLOSED)
		return 0;
	if (smtp->phase == MJ_SMTP_CONNECTING)
	{
		memcpy(fds, smtp->fds, smtp->nfds * sizeof(MjSmtpFd));
		return smtp->nfds;
	}
	fds[0].fd = smtp->socket;
	fds[0].events = MJ_SMTP_READ;
	if (mj_dialogue_output(&smtp->dialogue, &bytes) > 0)
		fds[0].events |= MJ_SMTP_WRITE;
	return 1;
}

/*
 * In how many ms it wants to be called, whatever its sockets do; -1: need not.
 */
long
mj_smtp_wait_ms(const MjSmtp *smtp)
{
	int64 until = smtp->deadline;

	if (smtp->phase == MJ_SMTP_CLOSED ||
		(smtp->phase == MJ_SMTP_OPEN && !mj_dialogue_busy(&smtp->dialogue)))
		return -1;
	if (smtp->phase == MJ_SMTP_CONNECTING && smtp->wake_at >= 0)
		until = Min(until, smtp->wake_at);
	return (long) Max(until - monotonic_ms(), 0);
}

/*
 * For how many ms has nothing moved that is under way?
 */
long
mj_smtp_still_ms(const MjSmtp *smtp)
{
	return (long) (monotonic_ms() - (smtp->deadline - smtp->timeout_ms));
}

/*
 * Does the connection take a message, or another behind the one that is under
 * way?
 */
bool
mj_smtp_wants(const MjSmtp *smtp)
{
	return smtp->phase == MJ_SMTP_OPEN && mj_dialogue_wants(&smtp->dialogue);
}

/*
 * Hand a message in; see mj_dialogue_message().
 */
void
mj_smtp_put(MjSmtp *smtp, const MjEnvelope *envelope, void *tag)
{
	if (!mj_dialogue_busy(&smtp->dialogue))
		note_progress(smtp);
	mj_dialogue_message(&smtp->dialogue, envelope, tag);
}

/*
 * What became of a message, each once; false: no more is known.
 */
bool
mj_smtp_take(MjSmtp *smtp, void **tag, MjSmtpResult *result)
{
	if (!mj_dialogue_take(&smtp->dialogue, tag, result))
		return false;
	mask_result(smtp, result);
	return true;
}

/*
 * Give a message back that waits behind another; false: there is none.
 */
bool
mj_smtp_take_back(MjSmtp *smtp, void **tag)
{
	return mj_dialogue_take_back(&smtp->dialogue, tag);
}

/*
 * Is anything under way?
 */
bool
mj_smtp_busy(const MjSmtp *smtp)
{
	return smtp->phase == MJ_SMTP_CONNECTING ||
		smtp->phase == MJ_SMTP_GREETING || mj_dialogue_busy(&smtp->dialogue);
}

/*
 * Give up what is under way, at once, for this process has to stop.
 */
void
mj_smtp_interrupt(MjSmtp *smtp)
{
	if (smtp->phase == MJ_SMTP_CONNECTING)
		fail(&smtp->failure, MJ_SMTP_ERR_INTERRUPTED,
			 "connecting to SMTP server was interrupted", "");
	else
	{
		mj_dialogue_broken(&smtp->dialogue, MJ_SMTP_ERR_INTERRUPTED,
						   "sending was interrupted");
		look_at_phase(smtp);
	}
	smtp->phase = MJ_SMTP_CLOSED;
}

/*
 * Say good-bye if the connection is idle, and do not wait for the answer: it
 * would say nothing new.
 */
void
mj_smtp_leave(MjSmtp *smtp)
{
	if (!mj_smtp_usable(smtp))
		return;
	mj_dialogue_quit(&smtp->dialogue);
	push(smtp);
}

/* ------------------------------------------------------------------------
 * Interface: with the caller's wait
 * ------------------------------------------------------------------------
 */

/*
 * Wait until something may have moved; false if the wait was interrupted.
 */
static bool
wait_for_any(MjSmtp *smtp)
{
	MjSmtpFd fds[MJ_SMTP_MAX_FDS];
	int nfds = mj_smtp_fds(smtp, fds);

	return smtp->wait(smtp->wait_arg, fds, nfds,
					  Max(mj_smtp_wait_ms(smtp), 0)) >= 0;
}

/*
 * Move bytes until nothing is under way any more.
 */
static void
converse(MjSmtp *smtp)
{
	for (;;)
	{
		mj_smtp_say(smtp);
		mj_smtp_hear(smtp);
		if (!mj_smtp_busy(smtp))
			return;
		if (!wait_for_any(smtp))
			mj_smtp_interrupt(smtp);
	}
}

/*
 * Connect, secure, log in.  Once per object.  True: ready for messages.  On
 * false the result says why; only mj_smtp_close is left then.  Waits up to
 * timeout_ms for all of it, and once more for the reply to EHLO.
 */
bool
mj_smtp_open(MjSmtp *smtp, MjSmtpResult *result)
{
	mj_smtp_begin(smtp);
	if (smtp->phase != MJ_SMTP_CLOSED)
		converse(smtp);
	*result = smtp->failure;
	return mj_smtp_usable(smtp);
}

/*
 * Say what a step that succeeded found.
 */
static void
describe_step(const MjSmtp *smtp, int step, MjSmtpStep *out)
{
	const Watch *watch = &smtp->watch;
	const char *extensions = smtp->dialogue.extensions.list;

	if (step == 0)
		snprintf(out->detail, sizeof(out->detail), "greeting: %s%s%s",
				 watch->greeting, extensions[0] ? "; extensions: " : "",
				 extensions);
	else if (step == 1)
		strlcpy(out->detail,
				watch->tls[0]		 ? watch->tls :
					watch->tls_begun ? "verified" :
									   "off: the connection is plain text",
				sizeof(out->detail));
	else
		snprintf(out->detail, sizeof(out->detail),
				 smtp->user ? "logged in as %s" : "no user is set%s",
				 smtp->user ? smtp->user : "");
	mask_secrets(smtp, out->detail);
}

/*
 * The step that an error belongs to
 */
static int
failed_step(const MjSmtp *smtp, const MjSmtpResult *result)
{
	switch (result->error)
	{
		case MJ_SMTP_ERR_CONFIG:
		case MJ_SMTP_ERR_CONNECT:
			return current_step(smtp) == 1 ? 1 : 0;
		case MJ_SMTP_ERR_TLS:
			return 1;
		case MJ_SMTP_ERR_AUTH:
			return 2;
		default:
			return current_step(smtp);
	}
}

/*
 * Open the connection and report step by step; instead of mj_smtp_open, and
 * followed by the same.  Fills up to MJ_SMTP_STEPS steps, in order, ending
 * with the one that failed, and returns their number.
 */
int
mj_smtp_check(MjSmtp *smtp, MjSmtpStep *steps, MjSmtpResult *result)
{
	static const char *const names[] = { "connect", "TLS", "AUTH" };
	bool ok = mj_smtp_open(smtp, result);
	int failed = ok ? MJ_SMTP_STEPS : failed_step(smtp, result);

	for (int i = 0; i < MJ_SMTP_STEPS && i <= failed; i++)
	{
		steps[i].name = names[i];
		steps[i].ok = i < failed;
		if (steps[i].ok)
			describe_step(smtp, i, &steps[i]);
		else
			snprintf(steps[i].detail, sizeof(steps[i].detail), "%s%s%s",
					 result->message, result->detail[0] ? ": " : "",
					 result->detail);
	}
	return Min(failed + 1, MJ_SMTP_STEPS);
}

/*
 * Send one message; true if the server accepted it.  The result tells what
 * became of it, mj_smtp_usable whether the connection takes another.
 */
bool
mj_smtp_send(MjSmtp *smtp, const MjEnvelope *envelope, MjSmtpResult *result)
{
	void *tag;

	/* did the server say good-bye meanwhile? */
	if (mj_smtp_usable(smtp))
		mj_smtp_hear(smtp);
	mj_smtp_put(smtp, envelope, NULL);
	converse(smtp);
	(void) mj_smtp_take(smtp, &tag, result);
	return result->outcome == MJ_SMTP_ACCEPTED;
}

/*
 * Can the connection take another message, as far as is known?
 */
bool
mj_smtp_usable(const MjSmtp *smtp)
{
	return mj_dialogue_usable(&smtp->dialogue);
}

/*
 * Is the reply to a final dot awaited?  Until it comes nobody knows whether the
 * server has taken the message.
 */
bool
mj_smtp_in_doubt(const MjSmtp *smtp)
{
	return mj_dialogue_in_doubt(&smtp->dialogue);
}

/*
 * Take leave politely, within a second.  Does not free anything.
 */
void
mj_smtp_quit(MjSmtp *smtp)
{
	if (!mj_smtp_usable(smtp))
		return;
	smtp->timeout_ms = Min(smtp->timeout_ms, QUIT_TIMEOUT);
	note_progress(smtp);
	mj_dialogue_quit(&smtp->dialogue);
	converse(smtp);
}

static void
free_secret(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/*
 * Drop the connection, if there is one, and free everything.  Never waits; may
 * be called in any state, at any time but from within the caller's own wait.
 */
void
mj_smtp_close(MjSmtp *smtp)
{
	if (smtp == NULL)
		return;
	if (smtp->added)
		curl_multi_remove_handle(smtp->multi, smtp->easy);
	if (smtp->easy)
		curl_easy_cleanup(smtp->easy);
	if (smtp->multi)
		curl_multi_cleanup(smtp->multi);
	free(smtp->url);
	free(smtp->user);
	free_secret(smtp->password);
	free(smtp->ca_file);
	free(smtp->helo);
	free(smtp->proxy);
	explicit_bzero(smtp->watch.secrets, sizeof(smtp->watch.secrets));
	free(smtp);
}
