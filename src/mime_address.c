/*-------------------------------------------------------------------------
 *
 * mime_address.c
 *	  Addresses: mailboxes and lists of them, taken apart and checked.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "idna.h"
#include "mime_part.h"

#define MAX_ITEM 1024 /* bytes of a mailbox as written */

/*
 * As refuse, for a part of an address field; the detail quotes the value, in
 * printable ASCII so that it fits into any encoding and any log.
 */
static bool
refuse_address(MjProblem *problem, const char *field, const char *value,
			   size_t length, const char *what)
{
	char shown[81];
	char detail[128];
	size_t n = Min(length, sizeof(shown) - 1);

	for (size_t i = 0; i < n; i++)
		shown[i] = (value[i] >= 0x20 && value[i] < 0x7f) ? value[i] : '?';
	shown[n] = '\0';
	snprintf(detail, sizeof(detail), "The value %s \"%s\".",
			 n < length ? "begins with" : "is", shown);
	return mj_mime_refuse(problem, detail, NULL,
						  "invalid address in \"%s\": %s", field, what);
}

static const char *
skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/*
 * Is this character beyond ASCII one that nobody sees: blanks, joiners, marks
 * of direction?  They get into an address by accident, or to deceive.
 */
static bool
is_invisible(const char *s, int length)
{
	static const char *const ranges[][2] = {
		{ "\xc2\xa0", "\xc2\xa0" },			/* no-break space */
		{ "\xc2\xad", "\xc2\xad" },			/* soft hyphen */
		{ "\xe2\x80\x80", "\xe2\x80\x8f" }, /* spaces, joiners, marks */
		{ "\xe2\x80\xa8", "\xe2\x80\xaf" }, /* separators, embedding */
		{ "\xe2\x81\x9f", "\xe2\x81\xaf" }, /* more of both */
		{ "\xe3\x80\x80", "\xe3\x80\x80" }, /* ideographic space */
		{ "\xef\xbb\xbf", "\xef\xbb\xbf" }	/* byte order mark */
	};

	for (size_t i = 0; i < lengthof(ranges); i++)
	{
		if (strlen(ranges[i][0]) == (size_t) length &&
			memcmp(s, ranges[i][0], length) >= 0 &&
			memcmp(s, ranges[i][1], length) <= 0)
			return true;
	}
	return false;
}

/*
 * Length of the character at s, at most left bytes, if it may stand in an
 * atom: atext, and by RFC 6532 what is beyond ASCII.  Else 0.
 */
static int
atom_character(const char *s, size_t left)
{
	int length;

	if (mj_is_atext(*s))
		return 1;
	if ((unsigned char) *s < 0x80)
		return 0;
	length = mj_mime_utf8_length(s, left);
	return length > 1 && !is_invisible(s, length) ? length : 0;
}

/*
 * Check the part of an addr-spec before the "@": a dot-atom.  Quoted local
 * parts are legal, but nobody has one, and half of the mailers break on them.
 */
static bool
check_local_part(const char *field, const char *spec, size_t length,
				 MjProblem *problem)
{
	if (length == 0)
		return refuse_address(problem, field, spec, strlen(spec),
							  "nothing before the \"@\"");
	if (length > 64)
		return refuse_address(problem, field, spec, length,
							  "more than 64 bytes before the \"@\"");
	for (size_t i = 0; i < length;)
	{
		int n = spec[i] == '.' ? 1 : atom_character(spec + i, length - i);

		if (n == 0)
			return refuse_address(problem, field, spec, length,
								  "character not allowed before the \"@\"");
		if (spec[i] == '.' && (i == 0 || i == length - 1 || spec[i - 1] == '.'))
			return refuse_address(problem, field, spec, length,
								  "misplaced dot before the \"@\"");
		i += n;
	}
	return true;
}

/*
 * Check an address literal, [192.0.2.1] or [IPv6:2001:db8::1]
 */
static bool
check_literal(const char *field, const char *domain, size_t length,
			  MjProblem *problem)
{
	bool ok = length > 2 && domain[length - 1] == ']';

	for (size_t i = 1; ok && i < length - 1; i++)
		ok = mj_is_alnum(domain[i]) || domain[i] == '.' || domain[i] == ':';
	if (!ok)
		return refuse_address(problem, field, domain, length,
							  "malformed address literal");
	return true;
}

/*
 * Check the part of an addr-spec after the "@": labels of letters, digits and
 * hyphens, separated by dots.
 */
static bool
check_domain(const char *field, const char *domain, size_t length,
			 MjProblem *problem)
{
	size_t label = 0;

	if (length > 0 && domain[0] == '[')
		return check_literal(field, domain, length, problem);
	for (size_t i = 0; i <= length; i++)
	{
		if (i == length || domain[i] == '.')
		{
			if (label == 0 || label > 63 || domain[i - 1] == '-' ||
				domain[i - label] == '-')
				return refuse_address(problem, field, domain, length,
									  "malformed domain after the \"@\"");
			label = 0;
		}
		else if (mj_is_alnum(domain[i]) || domain[i] == '-')
			label++;
		else
			return refuse_address(problem, field, domain, length,
								  "character not allowed after the \"@\"");
	}
	return true;
}

/*
 * Copy the domain in [domain, end) to to[size], in its ASCII form.
 */
static bool
take_domain(const char *field, const char *domain, const char *end, char *to,
			size_t size, MjProblem *problem)
{
	size_t length = end - domain;
	bool ascii = true;

	for (const char *p = domain; p < end; p++)
		ascii &= (unsigned char) *p < 0x80;
	if (ascii && length < size)
	{
		memcpy(to, domain, length);
		to[length] = '\0';
	}
	else if (ascii || !mj_idna_to_ascii(domain, length, to, size))
		return refuse_address(problem, field, domain, length,
							  ascii ?
								  "it is longer than 254 bytes" :
								  "there is no such internationalized domain");
	return check_domain(field, to, strlen(to), problem);
}

/*
 * Check an addr-spec (the bare address) and put it into the mailbox.
 */
static bool
take_address(const char *field, const char *spec, size_t length,
			 MjMailbox *mailbox, MjProblem *problem)
{
	char *to = mailbox->address;
	const char *at = NULL;
	size_t local;

	if (length == 0)
		return refuse_address(problem, field, spec, 0, "it is empty");
	for (const char *p = spec; p < spec + length; p++)
	{
		if (*p == '@')
			at = p;
	}
	if (at == NULL)
		return refuse_address(problem, field, spec, length,
							  "the \"@\" is missing");
	local = at + 1 - spec;
	if (local >= MJ_MIME_MAX_ADDRESS)
		return refuse_address(problem, field, spec, length,
							  "it is longer than 254 bytes");
	memcpy(to, spec, local);
	to[local] = '\0';
	mailbox->utf8 = !mj_mime_is_ascii(to);
	to[local - 1] = '\0';
	if (!check_local_part(field, to, local - 1, problem))
		return false;
	to[local - 1] = '@';
	return take_domain(field, at + 1, spec + length, to + local,
					   sizeof(mailbox->address) - local, problem);
}

/*
 * Copy the display name in [from, end) without its quotes and backslashes.
 */
static bool
take_name(const char *field, const char *from, const char *end, char *to,
		  MjProblem *problem)
{
	bool quoted = false;
	size_t n = 0;

	while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	for (const char *p = from; p < end; p++)
	{
		if (*p == '"')
		{
			quoted = !quoted;
			continue;
		}
		if (*p == '\\' && quoted && p + 1 < end)
			p++;
		else if (!quoted && (*p == '>' || *p == '\\'))
			return refuse_address(problem, field, from, end - from,
								  "the display name needs double quotes");
		if (n >= MJ_MIME_MAX_NAME)
			return refuse_address(problem, field, from, end - from,
								  "the display name is too long");
		to[n++] = *p;
	}
	to[n] = '\0';
	return true;
}

/*
 * First of the characters in "stop" outside of double quotes, or the string's
 * end.  NULL if a quote stays open.
 */
static const char *
find_unquoted(const char *p, const char *end, const char *stop)
{
	bool quoted = false;

	for (; p < end; p++)
	{
		if (quoted && *p == '\\' && p + 1 < end)
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && strchr(stop, *p))
			return p;
	}
	return quoted ? NULL : end;
}

/*
 * Take one mailbox, [item, end), apart.
 */
static bool
take_mailbox(const char *field, const char *item, const char *end,
			 MjMailbox *mailbox, MjProblem *problem)
{
	const char *open = find_unquoted(item, end, "<");
	const char *close;

	mailbox->name[0] = '\0';
	mailbox->utf8 = false;
	if (open == end)
	{
		/* the bare form */
		while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (memchr(item, '>', end - item))
			return refuse_address(problem, field, item, end - item,
								  "unbalanced \"<\" and \">\"");
		return take_address(field, item, end - item, mailbox, problem);
	}

	close = memchr(open, '>', end - open);
	if (close == NULL || memchr(open + 1, '<', end - open - 1))
		return refuse_address(problem, field, item, end - item,
							  "unbalanced \"<\" and \">\"");
	for (const char *p = close + 1; p < end; p++)
	{
		if (*p != ' ' && *p != '\t')
			return refuse_address(problem, field, item, end - item,
								  "something follows the \">\"");
	}
	return take_name(field, item, open, mailbox->name, problem) &&
		take_address(field, open + 1, close - open - 1, mailbox, problem);
}

/*
 * Take the next mailbox off a comma-separated list; *cursor starts at the
 * list's beginning.  Returns 1, 0 at the end of the list, -1 with a problem.
 * An empty list is not a problem here.
 */
int
mj_mime_next_mailbox(const char *field, const char **cursor, MjMailbox *mailbox,
					 MjProblem *problem)
{
	const char *item = skip_blanks(*cursor);
	const char *all_end = item + strlen(item);
	const char *end;
	char what[80];

	if (*item == '\0')
		return 0;
	end = find_unquoted(item, all_end, ",");
	if (end == NULL)
	{
		refuse_address(problem, field, item, all_end - item,
					   "a double quote is not closed");
		return -1;
	}
	if (end - item > MAX_ITEM)
	{
		refuse_address(problem, field, item, end - item, "it is too long");
		return -1;
	}
	snprintf(what, sizeof(what), "address in \"%s\"", field);
	if (!mj_mime_check_characters(what, item, end - item, problem) ||
		!take_mailbox(field, item, end, mailbox, problem))
		return -1;
	if (*end == ',' && *skip_blanks(end + 1) == '\0')
	{
		refuse_address(problem, field, item, all_end - item,
					   "nothing follows the last comma");
		return -1;
	}
	*cursor = *end == ',' ? end + 1 : end;
	return 1;
}

/*
 * Check a list of mailboxes; adds their number to *count.
 */
bool
mj_mime_check_list(const char *field, const char *list, int *count,
				   MjProblem *problem)
{
	const char *cursor = list;
	MjMailbox mailbox;
	int before = *count;
	int got;

	while ((got = mj_mime_next_mailbox(field, &cursor, &mailbox, problem)) > 0)
	{
		if (++*count > MJ_MIME_MAX_RECIPIENTS)
			return mj_mime_refuse(problem,
								  "A message can have 1000 recipients.",
								  "Send several messages.",
								  "too many recipients in \"%s\"", field);
	}
	if (got == 0 && *count == before)
		return refuse_address(problem, field, list, 0, "it is empty");
	return got == 0;
}

/*
 * Is this a well-formed mailbox, or comma-separated list of them?
 */
bool
mj_mime_check_address(const char *field, const char *address,
					  MjProblem *problem)
{
	int count = 0;

	return mj_mime_check_list(field, address, &count, problem);
}

/*
 * Take apart a value that must be exactly one mailbox.
 */
bool
mj_mime_parse_mailbox(const char *field, const char *value, MjMailbox *mailbox,
					  MjProblem *problem)
{
	const char *cursor = value;
	int got = mj_mime_next_mailbox(field, &cursor, mailbox, problem);

	if (got < 0)
		return false;
	if (got == 0)
		return refuse_address(problem, field, value, 0, "it is empty");
	if (*cursor != '\0')
		return refuse_address(problem, field, value, strlen(value),
							  "only one address is possible here");
	return true;
}
