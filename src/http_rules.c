/*-------------------------------------------------------------------------
 *
 * http_rules.c
 *	  The rules of HTTP: what may be called, and with what.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "guc.h"
#include "host_pattern.h"
#include "http_rules.h"

#define MAX_HEADERS 50
#define MAX_HEADER_NAME 100
#define MAX_HEADER_VALUE 8000

/* What a header's name may consist of: RFC 9110, 5.6.2. */
#define TOKEN_BYTES \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" \
	"!#$%&'*+-.^_`|~"

static const char *const methods[] = { "GET",	 "POST", "PUT", "PATCH",
									   "DELETE", "HEAD", NULL };

/* Headers that say how a message is sent, which is not the caller's choice. */
static const char *const framing[] = { "Host",
									   "Content-Length",
									   "Transfer-Encoding",
									   "Connection",
									   "Keep-Alive",
									   "Expect",
									   "Upgrade",
									   "TE",
									   "Trailer",
									   NULL };

/* Headers that would hold a secret. */
static const char *const secrets[] = { "Authorization", "Cookie", NULL };

/* Is a name, whatever its case, one of some? */
static bool
is_one_of(const char *name, const char *const *names)
{
	int i;

	for (i = 0; names[i] != NULL; i++)
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/*
 * May a URL be called?  Returns 0, or the SQLSTATE of the problem, whose message
 * is to follow "... cannot be called: " or so.  *parsed is filled if it is one.
 */
int
mj_http_check_url(const char *url, bool by_setting, MjHttpUrl *parsed,
				  MjProblem *problem)
{
	memset(problem, 0, sizeof(*problem));
	if (!mj_http_parse_url(url, parsed, problem))
		return ERRCODE_INVALID_PARAMETER_VALUE;
	if (by_setting ||
		mj_host_list_has(mj_http_allowed_hosts, parsed->tls, parsed->host,
						 parsed->port))
		return 0;
	snprintf(problem->message, sizeof(problem->message),
			 "host %s:%d is not in motionify_jobs.http_allowed_hosts",
			 parsed->host, parsed->port);
	strlcpy(
		problem->hint,
		"A superuser adds it: ALTER DATABASE ... SET motionify_jobs.http_allowed_hosts = 'host, host:port, *.domain'; then call jobs.reload().",
		sizeof(problem->hint));
	return ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/* Raise 22023, or 42501, unless an option is a URL that may be called. */
void
mj_http_require_url(const char *option, const char *url)
{
	MjHttpUrl parsed;
	MjProblem problem;
	int sqlstate = mj_http_check_url(url, false, &parsed, &problem);

	if (sqlstate != 0)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("option \"%s\" cannot be used: %s", option,
						problem.message),
				 problem.hint[0] ? errhint("%s", problem.hint) : 0));
}

/* Raise 22023 unless a method may be used; NULL: the default. */
void
mj_http_require_method(const char *method)
{
	int i;

	for (i = 0; method != NULL && methods[i] != NULL; i++)
		if (strcmp(method, methods[i]) == 0)
			return;
	if (method == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"method\": \"%s\"", method),
			 errhint("Available values: %s.",
					 "GET, POST, PUT, PATCH, DELETE, HEAD")));
}

/* Raise 22023 for a header; the detail is a sentence, the hint may be NULL. */
static void
refuse_header(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("header \"%s\" cannot be used", name),
			 errdetail("%s", detail), hint ? errhint("%s", hint) : 0));
}

/* Raise 22023 unless a header may have that name. */
static void
require_header_name(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length > MAX_HEADER_NAME ||
		strspn(name, TOKEN_BYTES) != length)
		refuse_header(
			name,
			"Its name is not 1 to 100 ASCII letters, digits, hyphens and the like.",
			NULL);
	if (is_one_of(name, framing))
		refuse_header(name, "It says how the request is sent.", NULL);
	if (is_one_of(name, secrets) || pg_strncasecmp(name, "Proxy-", 6) == 0)
		refuse_header(
			name, "A definition is in dumps, and holds no secrets.",
			"Secrets of a host are kept in the file that motionify_jobs.http_secrets_file names.");
	if (pg_strcasecmp(name, "Idempotency-Key") == 0 ||
		pg_strncasecmp(name, "X-Motionify-", 12) == 0)
		refuse_header(name, "It is set for each call.", NULL);
}

/* Raise 22023 unless a header may have that value. */
static void
require_header_value(const char *name, const char *value)
{
	const unsigned char *p = (const unsigned char *) value;

	if (value[strspn(value, " \t")] == '\0')
		refuse_header(name, "Its value is empty.", NULL);
	if (strlen(value) > MAX_HEADER_VALUE)
		refuse_header(name, "Its value has more than 8000 bytes.", NULL);
	for (; *p; p++)
		if ((*p < ' ' && *p != '\t') || *p == 0x7f)
			refuse_header(
				name,
				"Its value contains a line break or another control character.",
				NULL);
}

/* Raise 22023 unless headers are an object of texts that may be sent. */
void
mj_http_require_headers(Jsonb *headers)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *name = NULL;
	int n = 0;

	if (headers == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(headers) || JB_ROOT_COUNT(headers) > MAX_HEADERS)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "option \"headers\" must be a JSON object of at most %d texts",
				 MAX_HEADERS),
			 errhint("For example {\"X-Source\": \"portal\"}.")));
	it = JsonbIteratorInit(&headers->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = pnstrdup(value.val.string.val, value.val.string.len);
			require_header_name(name);
		}
		else if (token == WJB_VALUE && value.type == jbvString)
		{
			require_header_value(name,
								 pnstrdup(value.val.string.val,
										  value.val.string.len));
			n++;
		}
		else if (token == WJB_VALUE)
			refuse_header(name, "Its value is not a text.", NULL);
	}
	Assert(n == JB_ROOT_COUNT(headers));
}

/*
 * The headers of such an object as "Name: value", into *lines, palloc'ed;
 * returns how many.  What is not one, of a definition that was restored, is left
 * out.  Raises nothing.
 */
int
mj_http_headers(Jsonb *headers, const char ***lines)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *name = NULL;
	int n = 0;

	*lines = palloc((headers != NULL ? Max(JB_ROOT_COUNT(headers), 1) : 1) *
					sizeof(char *));
	if (headers == NULL || !JB_ROOT_IS_OBJECT(headers))
		return 0;
	it = JsonbIteratorInit(&headers->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE && value.type == jbvString)
		{
			char *line = psprintf("%s: %.*s", name, value.val.string.len,
								  value.val.string.val);

			if (strpbrk(line, "\r\n") == NULL)
				(*lines)[n++] = line;
		}
	}
	return n;
}
