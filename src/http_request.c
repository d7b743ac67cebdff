/*-------------------------------------------------------------------------
 *
 * http_request.c
 *	  The request of a run: its headers, its body, its signature.
 *
 * The Idempotency-Key depends on the run alone, so a server that is called again,
 * because nobody knows whether it had done it, can tell.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "hmac.h"
#include "http_request.h"
#include "http_rules.h"

/* Headers of ours beside those of the job and the secrets. */
#define OUR_HEADERS 8

/* Bytes that are read beyond what is shown. */
#define MASKED_BEYOND 8192

/* The method if none is given. */
#define DEFAULT_METHOD "POST"

/* Seconds between the epochs of PostgreSQL and Unix. */
#define EPOCH_DIFFERENCE \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* Does a request of that method have a body? */
static bool
has_body(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
		strcmp(method, "PATCH") == 0;
}

/* Bytes of a string in JSON, without its quotes. */
static Size
string_length(const char *bytes, int length)
{
	Size n = 0;
	int i;

	for (i = 0; i < length; i++)
		n += (unsigned char) bytes[i] < ' '		? 6 :
			bytes[i] == '"' || bytes[i] == '\\' ? 2 :
												  1;
	return n;
}

/* Bytes of what is one thing in JSON, with its quotes. */
static Size
value_length(const JsonbValue *value)
{
	char *digits;
	Size n;

	if (value->type == jbvString)
		return string_length(value->val.string.val, value->val.string.len) + 2;
	if (value->type != jbvNumeric)
		return strlen("false");
	digits = DatumGetCString(
		DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	n = strlen(digits);
	pfree(digits);
	return n;
}

/*
 * Has some JSON as a text no more bytes than may be sent?  That has to be known
 * before it is made: it may be a thousand times as long as the JSON, since a number
 * such as 1e131071 is written out, and what has more than 1 GB is an error.
 */
static bool
is_sendable(Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	Size length = 0;

	while (length <= MJ_HTTP_MAX_BODY &&
		   (token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		length += strlen(", ");
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			length += value_length(&value);
	}
	return length <= MJ_HTTP_MAX_BODY;
}

/*
 * The arguments of a run as JSON; without any an empty object.  NULL: that would have
 * more than MJ_HTTP_MAX_BODY bytes.
 */
char *
mj_http_args_text(const MjRun *run)
{
	Jsonb *args;

	if (run->args_isnull)
		return pstrdup("{}");
	args = DatumGetJsonbP(run->args);
	return is_sendable(args) ?
		JsonbToCString(NULL, &args->root, VARSIZE(args)) :
		NULL;
}

/* A name as a header can have it: what is not ASCII, and %, as %XX. */
static char *
header_text(const char *name)
{
	StringInfoData text;

	initStringInfo(&text);
	for (; *name; name++)
	{
		if (*name >= ' ' && *name < 0x7f && *name != '%')
			appendStringInfoChar(&text, *name);
		else
			appendStringInfo(&text, "%%%02X", (unsigned char) *name);
	}
	return text.data;
}

static void
add(MjHttpDraft *draft, const char *line)
{
	draft->headers[draft->request.nheaders++] = line;
}

/* Is one of some headers called so? */
static bool
has_header(const char **headers, int n, const char *name)
{
	size_t length = strlen(name);
	int i;

	for (i = 0; i < n; i++)
		if (pg_strncasecmp(headers[i], name, length) == 0 &&
			headers[i][length] == ':')
			return true;
	return false;
}

/*
 * The job's own headers, but for those that the secrets file has, too: nobody is
 * to send others in their place.
 */
static void
add_own(MjHttpDraft *draft, Jsonb *own)
{
	const char **lines;
	int n = mj_http_headers(own, &lines);
	int i;

	draft->headers =
		palloc((n + draft->secrets.n + OUR_HEADERS) * sizeof(char *));
	draft->request.headers = draft->headers;
	for (i = 0; i < n; i++)
	{
		char *name = pnstrdup(lines[i], strcspn(lines[i], ":"));

		if (!has_header(draft->secrets.headers, draft->secrets.n, name))
			add(draft, lines[i]);
	}
	for (i = 0; i < draft->secrets.n; i++)
		add(draft, draft->secrets.headers[i]);
}

/* What a run is known by. */
static void
add_run(MjHttpDraft *draft, const MjHttpTarget *target, const MjRun *run,
		const char *instance_id)
{
	add(draft,
		psprintf("Idempotency-Key: %s-" INT64_FORMAT, instance_id,
				 run->run_id));
	add(draft, psprintf("X-Motionify-Run-Id: " INT64_FORMAT, run->run_id));
	add(draft, psprintf("X-Motionify-Attempt: %d", run->attempt));
	if (target->name == NULL)
		return;
	add(draft, psprintf("X-Motionify-Job: %s", header_text(target->name)));
	add(draft,
		psprintf("X-Motionify-Due-At: " INT64_FORMAT,
				 (int64) (run->due_at / USECS_PER_SEC) + EPOCH_DIFFERENCE));
}

/*
 * A text of the database, of at most MJ_HTTP_MAX_BODY bytes, in UTF-8; NULL if it
 * cannot be.  Raises nothing, for one run must not hold up others.
 */
static const char *
to_utf8(const char *text)
{
	int encoding = GetDatabaseEncoding();
	int length = (int) strlen(text);
	int size = length * MAX_CONVERSION_GROWTH + 1;
	char *utf8;
	Oid proc;

	if (encoding == PG_UTF8)
		return text;
	if (encoding == PG_SQL_ASCII)
		return pg_verify_mbstr(PG_UTF8, text, length, true) ? text : NULL;
	proc = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(proc))
		return NULL;
	utf8 = palloc(size);
	if (pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8,
									  (unsigned char *) text, length,
									  (unsigned char *) utf8, size,
									  true) != length)
		return NULL;
	return repalloc(utf8, strlen(utf8) + 1);
}

/* The body, in UTF-8.  Returns NULL, or why it cannot be sent. */
static const char *
set_body(MjHttpDraft *draft, const MjHttpTarget *target)
{
	MjHttpRequest *request = &draft->request;

	if (!has_body(request->method))
		return NULL;
	if (target->too_long ||
		(target->body && strlen(target->body) > MJ_HTTP_MAX_BODY))
		return "its body would have more than 10 MB";
	if (target->body == NULL)
		return NULL;
	request->body = to_utf8(target->body);
	if (request->body == NULL)
		return "its body cannot be written in UTF-8";
	request->length = strlen(request->body);
	if (!has_header(draft->headers, request->nheaders, "Content-Type"))
		add(draft, psprintf("Content-Type: %s", target->content_type));
	return NULL;
}

/* Copy what is of the file, which may be read again while the call goes on. */
static void
copy_secrets(MjHttpSecrets *secrets)
{
	int i;

	for (i = 0; i < secrets->n; i++)
		secrets->headers[i] = pstrdup(secrets->headers[i]);
	if (secrets->key != NULL)
		secrets->key = pstrdup(secrets->key);
}

/*
 * Make the request of a run, in the current memory context.  Returns 0, or the
 * SQLSTATE of the problem, if it must not be sent as things are.  Needs a
 * transaction.
 */
int
mj_http_draft(const MjHttpTarget *target, const MjRun *run,
			  const char *instance_id, MjHttpDraft *draft, MjProblem *problem)
{
	MjHttpRequest *request = &draft->request;
	const char *why_not;
	int sqlstate;

	memset(draft, 0, sizeof(*draft));
	sqlstate = mj_http_check_url(target->url ? target->url : "",
								 target->by_setting, &draft->url, problem);
	if (sqlstate == 0)
		sqlstate = mj_http_secrets_find(&draft->url, &draft->secrets, problem);
	if (sqlstate != 0)
		return sqlstate;
	copy_secrets(&draft->secrets);
	request->url = target->url;
	request->method = target->method ? target->method : DEFAULT_METHOD;
	request->ca_file = pstrdup(mj_http_ca_file);
	request->connect_timeout_ms = mj_http_connect_timeout_s * 1000L;
	request->timeout_ms =
		target->timeout_ms > 0 ? target->timeout_ms : mj_http_timeout_s * 1000;
	request->most = (size_t) mj_http_max_response_kb * 1024;
	/* a secret at the border of what is shown must be seen whole, to be masked */
	request->kept = (size_t) mj_max_result_length_kb * 1024 + MASKED_BEYOND;
	add_own(draft, target->headers);
	add_run(draft, target, run, instance_id);
	why_not = set_body(draft, target);
	if (why_not == NULL)
		return 0;
	strlcpy(problem->message, why_not, sizeof(problem->message));
	return ERRCODE_INVALID_PARAMETER_VALUE;
}

/*
 * Sign a request that is about to be sent, if there is a key for its host: of the
 * time, a full stop and the body.  In the memory context of the draft.
 */
void
mj_http_sign(MjHttpDraft *draft, TimestampTz now)
{
	const MjHttpRequest *request = &draft->request;
	int64 seconds = now / USECS_PER_SEC + EPOCH_DIFFERENCE;
	StringInfoData signed_bytes;
	char digits[MJ_HMAC_SIZE];
	MemoryContext old;

	if (draft->secrets.key == NULL)
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(draft->headers));
	initStringInfo(&signed_bytes);
	appendStringInfo(&signed_bytes, INT64_FORMAT ".", seconds);
	if (request->body != NULL)
		appendBinaryStringInfo(&signed_bytes, request->body, request->length);
	if (!mj_hmac_sha256(draft->secrets.key, signed_bytes.data, signed_bytes.len,
						digits))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not sign a call")));
	add(draft, psprintf("X-Motionify-Timestamp: " INT64_FORMAT, seconds));
	add(draft, psprintf("X-Motionify-Signature: sha256=%s", digits));
	pfree(signed_bytes.data);
	MemoryContextSwitchTo(old);
}
