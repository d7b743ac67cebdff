/*-------------------------------------------------------------------------
 *
 * host_pattern.c
 *	  Patterns of hosts, in settings and files: which hosts, ports and schemes
 *	  they mean.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "host_pattern.h"

#define SEPARATORS ", \t\r\n"

/* What a host's name, or an address, may consist of. */
#define NAME_BYTES \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
#define ADDRESS_BYTES "0123456789abcdefABCDEF:."

/* Skip a word at the begin of a text. */
static bool
skip(const char **text, size_t *length, const char *word)
{
	size_t n = strlen(word);

	if (*length < n || pg_strncasecmp(*text, word, n) != 0)
		return false;
	*text += n;
	*length -= n;
	return true;
}

/* How many bytes at the begin of a text are some of those given. */
static size_t
span(const char *text, size_t length, const char *bytes)
{
	size_t n = 0;

	while (n < length && text[n] != '\0' && strchr(bytes, text[n]) != NULL)
		n++;
	return n;
}

/* How long the host is at the begin of a text; 0: there is none. */
static size_t
host_length(const char *text, size_t length)
{
	size_t n;

	if (length == 0 || text[0] != '[')
		return span(text, length, NAME_BYTES);
	n = 1 + span(text + 1, length - 1, ADDRESS_BYTES);
	return n < length && text[n] == ']' && n > 2 ? n + 1 : 0;
}

/* The port, with its colon, that is the rest of a text. */
static bool
take_port(const char *text, size_t length, MjHostPattern *pattern)
{
	size_t i;

	pattern->port = -1;
	if (length == 0)
		return true;
	if (text[0] != ':' || length < 2 || length > 6)
		return false;
	pattern->port = 0;
	if (length == 2 && text[1] == '*')
		return true;
	for (i = 1; i < length; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		pattern->port = pattern->port * 10 + (text[i] - '0');
	}
	return pattern->port > 0 && pattern->port <= 65535;
}

/* Read a pattern; false if it is none. */
bool
mj_host_pattern_parse(const char *text, size_t length, MjHostPattern *pattern)
{
	size_t n;
	size_t i;

	memset(pattern, 0, sizeof(*pattern));
	pattern->http = pattern->https = true;
	if (skip(&text, &length, "https://"))
		pattern->http = false;
	else if (skip(&text, &length, "http://"))
		pattern->https = false;
	pattern->below = skip(&text, &length, "*.");
	n = host_length(text, length);
	if (n == 0 || n >= sizeof(pattern->host) || text[0] == '.' ||
		(pattern->below && text[0] == '['))
		return false;
	for (i = 0; i < n; i++)
		pattern->host[i] = pg_ascii_tolower((unsigned char) text[i]);
	return take_port(text + n, length - n, pattern);
}

/* Does a pattern mean a host, which is in lower case, and a port of it? */
bool
mj_host_pattern_matches(const MjHostPattern *pattern, bool tls,
						const char *host, int port)
{
	size_t length = strlen(host);
	size_t n = strlen(pattern->host);

	if (!(tls ? pattern->https : pattern->http))
		return false;
	if (pattern->port != 0 &&
		port !=
			(pattern->port > 0 ? pattern->port :
				 tls		   ? 443 :
								 80))
		return false;
	if (!pattern->below)
		return strcmp(host, pattern->host) == 0;
	return length > n + 1 && host[length - n - 1] == '.' &&
		strcmp(host + length - n, pattern->host) == 0;
}

/* Are all elements of a list patterns?  Else one that is not, cut to size. */
bool
mj_host_list_check(const char *list, char *wrong, size_t size)
{
	MjHostPattern pattern;

	for (;;)
	{
		size_t n;

		list += strspn(list, SEPARATORS);
		n = strcspn(list, SEPARATORS);
		if (n == 0)
			return true;
		if (!mj_host_pattern_parse(list, n, &pattern))
		{
			strlcpy(wrong, list, Min(n + 1, size));
			return false;
		}
		list += n;
	}
}

/* Does a list mean a host, which is in lower case, and a port of it? */
bool
mj_host_list_has(const char *list, bool tls, const char *host, int port)
{
	MjHostPattern pattern;

	for (;;)
	{
		size_t n;

		list += strspn(list, SEPARATORS);
		n = strcspn(list, SEPARATORS);
		if (n == 0)
			return false;
		if (mj_host_pattern_parse(list, n, &pattern) &&
			mj_host_pattern_matches(&pattern, tls, host, port))
			return true;
		list += n;
	}
}
