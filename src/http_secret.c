/*-------------------------------------------------------------------------
 *
 * http_secret.c
 *	  The secrets of hosts, out of the file that a setting names.
 *
 * What is read is in no message, and in no result: what a server repeats of it
 * is masked.  The file is read again when it has changed.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "utils/memutils.h"

#include "guc.h"
#include "host_pattern.h"
#include "http_secret.h"
#include "secret_file.h"

#define SECRETS_FILE "HTTP secrets file"
#define MAX_FILE (64 * 1024)
#define MAX_LINES 500
#define MIN_MASKED 4 /* bytes; what is shorter is no secret */

#define SIGNING_KEY "Signing-Key"

/* A line of the file. */
typedef struct Line
{
	MjHostPattern pattern;
	const char *header; /* "Name: value"; of a key, the value */
	bool is_key;
} Line;

/* The file, as it was read. */
static struct
{
	bool valid;
	char path[MAXPGPATH];
	struct stat st;
	int sqlstate; /* of the problem with it; 0: none */
	MjProblem problem;
	char *text; /* what the lines point into; malloc'ed */
	int nlines;
	Line lines[MAX_LINES];
} file;


/* A line is not one; its number is all that is said of it.  A SQLSTATE. */
static int
refuse(MjProblem *problem, int number, const char *what)
{
	memset(problem, 0, sizeof(*problem));
	snprintf(problem->message, sizeof(problem->message),
			 SECRETS_FILE " \"%s\", line %d: %s", mj_http_secrets_file, number,
			 what);
	strlcpy(
		problem->hint,
		"A line is a host and a header: example.com  Authorization: Bearer ...",
		sizeof(problem->hint));
	return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* A pattern that says nothing of the scheme does not mean plain text. */
static void
restrict_scheme(const char *text, MjHostPattern *pattern)
{
	bool loopback = strcmp(pattern->host, "localhost") == 0 ||
		strcmp(pattern->host, "[::1]") == 0 ||
		(strncmp(pattern->host, "127.", 4) == 0 &&
		 strspn(pattern->host, "0123456789.") == strlen(pattern->host));

	if (pg_strncasecmp(text, "http", 4) != 0 || strstr(text, "://") == NULL)
		pattern->http = loopback && !pattern->below;
}

/* Read a line, which is cut up in place.  Returns 0, or a SQLSTATE. */
static int
read_line(char *text, int number, MjProblem *problem)
{
	Line *line = &file.lines[file.nlines];
	char *end = text + strlen(text);
	char *colon;
	char *header;

	while (end > text && is_blank(end[-1]))
		*--end = '\0';
	while (is_blank(*text))
		text++;
	if (*text == '\0' || *text == '#')
		return 0;
	header = text + strcspn(text, " \t");
	if (!mj_host_pattern_parse(text, header - text, &line->pattern))
		return refuse(problem, number, "it does not begin with a host");
	if (*header != '\0')
		*header++ = '\0';
	restrict_scheme(text, &line->pattern);
	while (is_blank(*header))
		header++;
	colon = strchr(header, ':');
	if (colon == NULL || colon == header ||
		strcspn(header, " \t") < colon - header)
		return refuse(problem, number, "it has no header after the host");
	line->is_key =
		pg_strncasecmp(header, SIGNING_KEY ":", strlen(SIGNING_KEY) + 1) == 0;
	for (colon++; is_blank(*colon); colon++)
		;
	if (*colon == '\0')
		return refuse(problem, number, "its header has no value");
	line->header = line->is_key ? colon : header;
	file.nlines++;
	return 0;
}

/* Read what the file says.  Returns 0, or a SQLSTATE. */
static int
read_lines(size_t length, MjProblem *problem)
{
	char *text = file.text;
	int number = 0;
	int sqlstate = 0;

	text[length] = '\0';
	if (strlen(text) != length)
		return refuse(problem, 1, "the file contains a byte 0");
	while (text != NULL && sqlstate == 0)
	{
		char *next = strchr(text, '\n');

		if (next != NULL)
			*next++ = '\0';
		if (file.nlines == MAX_LINES)
			return refuse(problem, number, "there are too many lines");
		sqlstate = read_line(text, ++number, problem);
		text = next;
	}
	return sqlstate;
}

/* Forget what was read. */
static void
forget(void)
{
	if (file.text != NULL)
	{
		explicit_bzero(file.text, MAX_FILE + 1);
		free(file.text);
	}
	memset(&file, 0, sizeof(file));
}

/* Read the file. */
static void
load(void)
{
	size_t length;

	file.text = malloc(MAX_FILE + 1);
	if (file.text == NULL)
	{
		file.sqlstate = ERRCODE_OUT_OF_MEMORY;
		strlcpy(file.problem.message, "out of memory",
				sizeof(file.problem.message));
		return;
	}
	file.sqlstate =
		mj_secret_file_read(SECRETS_FILE, mj_http_secrets_file, file.text,
							MAX_FILE, &length, &file.problem);
	if (file.sqlstate == 0 && length == MAX_FILE)
		file.sqlstate =
			refuse(&file.problem, 1, "the file has more than 64 kB");
	if (file.sqlstate == 0)
		file.sqlstate = read_lines(length, &file.problem);
}

/* Have the file as it is now; one that cannot be looked at is read each time. */
static void
have_file(void)
{
	struct stat st = { 0 };
	bool found = stat(mj_http_secrets_file, &st) == 0;

	if (file.valid && found && strcmp(file.path, mj_http_secrets_file) == 0 &&
		st.st_mtim.tv_sec == file.st.st_mtim.tv_sec &&
		st.st_mtim.tv_nsec == file.st.st_mtim.tv_nsec &&
		st.st_ino == file.st.st_ino && st.st_size == file.st.st_size &&
		st.st_mode == file.st.st_mode && st.st_uid == file.st.st_uid)
		return;
	forget();
	load();
	strlcpy(file.path, mj_http_secrets_file, sizeof(file.path));
	file.st = st;
	file.valid = found;
}

/*
 * Can the file be used?  Returns 0, with how many secrets it has, or the
 * SQLSTATE of the problem.
 */
int
mj_http_secrets_check(MjProblem *problem, int *lines)
{
	*lines = 0;
	if (*mj_http_secrets_file == '\0')
		return 0;
	have_file();
	*problem = file.problem;
	*lines = file.nlines;
	return file.sqlstate;
}

/*
 * The secrets of a host.  Returns 0, or the SQLSTATE of the problem: then nothing
 * is to be called, for nobody knows what it would lack.
 */
int
mj_http_secrets_find(const MjHttpUrl *url, MjHttpSecrets *secrets,
					 MjProblem *problem)
{
	int sqlstate;
	int lines;
	int i;

	memset(secrets, 0, sizeof(*secrets));
	sqlstate = mj_http_secrets_check(problem, &lines);
	for (i = 0; sqlstate == 0 && i < lines; i++)
	{
		const Line *line = &file.lines[i];

		if (!mj_host_pattern_matches(&line->pattern, url->tls, url->host,
									 url->port))
			continue;
		if (line->is_key)
			secrets->key = line->header;
		else if (secrets->n < MJ_HTTP_MAX_SECRETS)
			secrets->headers[secrets->n++] = line->header;
	}
	return sqlstate;
}

/* Overwrite every occurrence of a secret. */
static void
mask(char *text, const char *secret)
{
	size_t length = strlen(secret);

	if (length < MIN_MASKED)
		return;
	while ((text = strstr(text, secret)) != NULL)
	{
		memset(text, '*', length);
		text += length;
	}
}

/*
 * Overwrite what a server has repeated of secrets: their values, and what comes
 * after the scheme, as in "Bearer ...".
 */
void
mj_http_secrets_mask(const MjHttpSecrets *secrets, char *text)
{
	int i;

	if (text == NULL)
		return;
	for (i = 0; i < secrets->n; i++)
	{
		const char *value = strchr(secrets->headers[i], ':') + 1;
		const char *last = strrchr(value, ' ');

		while (*value == ' ' || *value == '\t')
			value++;
		mask(text, value);
		if (last != NULL && last > value)
			mask(text, last + 1);
	}
	if (secrets->key != NULL)
		mask(text, secrets->key);
}
