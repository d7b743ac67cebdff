/*-------------------------------------------------------------------------
 *
 * mime.c
 *	  A mail message: checked, and rendered to strict bytes.
 *
 * Follows RFC 5322 (message), 2045 to 2047 (MIME) and 5321 (limits).  What
 * leaves here is 7-bit, has CRLF line ends only, and no line over 998 bytes.
 * It is not dot-stuffed: that belongs to SMTP's DATA.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <time.h>

#include "mb/pg_wchar.h"
#include "mime.h"

#define FOLD_COLUMN 78	/* headers are folded here where possible */
#define MAX_LINE 998	/* bytes without CRLF, RFC 5322 */
#define ENCODED_LINE 76 /* with encoded-words, RFC 2047 */
#define ENCODED_WORD 75
#define ENCODED_FRAME 12	   /* "=?UTF-8?Q?" and "?=" */
#define BODY_LINE 76		   /* of quoted-printable and base64 */
#define MAX_UNENCODED_WORD 800 /* a longer one could overfill a line */
#define MAX_QUOTED_NAME 60	   /* a longer one is encoded, to be folded */
#define MAX_ITEM 1024		   /* bytes of a mailbox as written */
#define MAX_DATE INT64CONST(253402300799) /* end of 9999 */

/* A header under construction */
typedef struct Fold
{
	StringInfo out;
	int column; /* bytes in the current line */
} Fold;

typedef enum Encoding
{
	ENCODING_7BIT,
	ENCODING_QP,
	ENCODING_BASE64
} Encoding;

/* A body part, ready to be written */
typedef struct Part
{
	const char *type; /* "text/plain" */
	Encoding encoding;
	StringInfoData data; /* encoded */
} Part;

static const char *const encoding_names[] = { "7bit", "quoted-printable",
											  "base64" };

/* Headers that are written here, or by the servers on the way */
static const char *const reserved_headers[] = {
	"From", "Reply-To",	  "To",			  "Cc",			 "Bcc",		"Subject",
	"Date", "Message-ID", "MIME-Version", "Return-Path", "Received"
};

/* Everything that begins like this is reserved as well */
static const char *const reserved_prefixes[] = { "Content-", "Resent-" };

static const char hex_digits[] = "0123456789ABCDEF";

/* ------------------------------------------------------------------------
 * Problems
 * ------------------------------------------------------------------------
 */

/*
 * Fill the problem and return false.  Detail and hint may be NULL.
 */
static bool refuse(MjProblem *problem, const char *detail, const char *hint,
				   const char *fmt, ...) pg_attribute_printf(4, 5);

static bool
refuse(MjProblem *problem, const char *detail, const char *hint,
	   const char *fmt, ...)
{
	va_list args;

	memset(problem, 0, sizeof(*problem));
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	if (detail)
		strlcpy(problem->detail, detail, sizeof(problem->detail));
	if (hint)
		strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

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
	return refuse(problem, detail, NULL, "invalid address in \"%s\": %s", field,
				  what);
}

/* ------------------------------------------------------------------------
 * Characters
 * ------------------------------------------------------------------------
 */

static bool
is_printable(char c)
{
	return c >= 0x20 && c < 0x7f;
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z');
}

/*
 * atext of RFC 5322: what atoms are made of
 */
static bool
is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/*
 * Length of the UTF-8 character at s, at most left bytes, or -1 if invalid
 */
static int
utf8_length(const char *s, size_t left)
{
	if (left > 0 && (unsigned char) *s < 0x80)
		return 1;
	return pg_encoding_verifymbchar(PG_UTF8, s, (int) Min(left, 4));
}

/*
 * Is this character one that could end or disturb a line: C0, DEL, C1, and
 * Unicode's line and paragraph separators?
 */
static bool
is_control(const char *s, int length)
{
	unsigned char c = (unsigned char) s[0];

	if (length == 1)
		return c < 0x20 || c == 0x7f;
	if (length == 2)
		return c == 0xc2 && (unsigned char) s[1] < 0xa0;
	return length == 3 &&
		(memcmp(s, "\xe2\x80\xa8", 3) == 0 ||
		 memcmp(s, "\xe2\x80\xa9", 3) == 0);
}

static bool
is_ascii(const char *s)
{
	for (; *s; s++)
	{
		if ((unsigned char) *s >= 0x80)
			return false;
	}
	return true;
}

static const char *
skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* ------------------------------------------------------------------------
 * Checks
 * ------------------------------------------------------------------------
 */

/*
 * Refuse what no header may contain: line ends and other controls, invalid
 * UTF-8.  "what" names the thing: address in "to", header "X-Tag".
 */
static bool
check_characters(const char *what, const char *value, size_t length,
				 MjProblem *problem)
{
	char detail[128];
	size_t at = 0;

	while (at < length)
	{
		int n = utf8_length(value + at, length - at);

		if (n <= 0)
		{
			snprintf(detail, sizeof(detail),
					 "The byte at position %zu begins no UTF-8 character.",
					 at + 1);
			return refuse(problem, detail, NULL, "invalid UTF-8 in %s", what);
		}
		if (is_control(value + at, n))
		{
			snprintf(detail, sizeof(detail), "At byte %zu there is %s.", at + 1,
					 value[at] == '\r' || value[at] == '\n' ?
						 "a line break" :
						 "a control character");
			return refuse(
				problem, detail, NULL,
				"line breaks and control characters are not allowed in %s",
				what);
		}
		at += n;
	}
	return true;
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
	for (size_t i = 0; i < length; i++)
	{
		if (spec[i] == '.')
		{
			if (i == 0 || i == length - 1 || spec[i - 1] == '.')
				return refuse_address(problem, field, spec, length,
									  "misplaced dot before the \"@\"");
		}
		else if (!is_atext(spec[i]))
			return refuse_address(problem, field, spec, length,
								  "character not allowed before the \"@\"");
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
		ok = is_alnum(domain[i]) || domain[i] == '.' || domain[i] == ':';
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
		else if (is_alnum(domain[i]) || domain[i] == '-')
			label++;
		else
			return refuse_address(problem, field, domain, length,
								  "character not allowed after the \"@\"");
	}
	return true;
}

/*
 * Check an addr-spec (the bare address) and copy it to "to"
 */
static bool
take_address(const char *field, const char *spec, size_t length, char *to,
			 MjProblem *problem)
{
	const char *at = NULL;

	if (length == 0)
		return refuse_address(problem, field, spec, 0, "it is empty");
	if (length > MJ_MIME_MAX_ADDRESS)
		return refuse_address(problem, field, spec, length,
							  "it is longer than 254 bytes");
	memcpy(to, spec, length);
	to[length] = '\0';
	if (!is_ascii(to))
		return refuse(
			problem,
			"Sending to such an address needs an extension of SMTP that is not supported.",
			"Write an internationalized domain in its ASCII form (xn--...).",
			"non-ASCII address in \"%s\"", field);
	at = strrchr(to, '@');
	if (at == NULL)
		return refuse_address(problem, field, to, length,
							  "the \"@\" is missing");
	return check_local_part(field, to, at - to, problem) &&
		check_domain(field, at + 1, length - (at + 1 - to), problem);
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
	if (open == end)
	{
		/* the bare form */
		while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (memchr(item, '>', end - item))
			return refuse_address(problem, field, item, end - item,
								  "unbalanced \"<\" and \">\"");
		return take_address(field, item, end - item, mailbox->address, problem);
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
		take_address(field, open + 1, close - open - 1, mailbox->address,
					 problem);
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
	if (!check_characters(what, item, end - item, problem) ||
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
static bool
check_list(const char *field, const char *list, int *count, MjProblem *problem)
{
	const char *cursor = list;
	MjMailbox mailbox;
	int before = *count;
	int got;

	while ((got = mj_mime_next_mailbox(field, &cursor, &mailbox, problem)) > 0)
	{
		if (++*count > MJ_MIME_MAX_RECIPIENTS)
			return refuse(problem, "A message can have 1000 recipients.",
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

	return check_list(field, address, &count, problem);
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

/*
 * Check the value of an unstructured header.
 */
static bool
check_value(const char *what, const char *value, MjProblem *problem)
{
	size_t length = strlen(value);
	char detail[64];

	if (length > MJ_MIME_MAX_HEADER)
	{
		snprintf(detail, sizeof(detail), "It has %zu bytes; %d are possible.",
				 length, MJ_MIME_MAX_HEADER);
		return refuse(problem, detail, NULL, "%s is too long", what);
	}
	return check_characters(what, value, length, problem);
}

static bool
is_reserved(const char *name)
{
	for (size_t i = 0; i < lengthof(reserved_headers); i++)
	{
		if (pg_strcasecmp(name, reserved_headers[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < lengthof(reserved_prefixes); i++)
	{
		if (pg_strncasecmp(name, reserved_prefixes[i],
						   strlen(reserved_prefixes[i])) == 0)
			return true;
	}
	return false;
}

/*
 * Check an extra header: its name, whether it may be set, and its value.
 */
bool
mj_mime_check_header(const char *name, const char *value, MjProblem *problem)
{
	size_t length = strlen(name);
	char what[80];

	if (length == 0)
		return refuse(problem, NULL, NULL, "empty header name");
	if (length > 64)
		return refuse(problem, "A header name can have 64 characters.", NULL,
					  "header name is too long");
	for (size_t i = 0; i < length; i++)
	{
		if (name[i] <= 0x20 || name[i] >= 0x7f || name[i] == ':')
			return refuse(
				problem,
				"A header name consists of printable ASCII characters without blank and colon.",
				NULL, "invalid header name");
	}
	if (is_reserved(name))
		return refuse(
			problem, NULL,
			"Headers of address, subject, date and content are made from the message's own fields.",
			"header \"%s\" cannot be set", name);
	snprintf(what, sizeof(what), "header \"%s\"", name);
	return check_value(what, value, problem);
}

static bool
check_message_id(const char *id, MjProblem *problem)
{
	size_t length = strlen(id);
	const char *at = strchr(id, '@');
	bool ok;

	ok = length <= MJ_MIME_MAX_MESSAGE_ID && length > 4 && id[0] == '<' &&
		id[length - 1] == '>' && at > id + 1 && at < id + length - 2 &&
		strchr(at + 1, '@') == NULL;
	for (size_t i = 1; ok && i < length - 1; i++)
		ok = id[i] > 0x20 && id[i] < 0x7f && id[i] != '<' && id[i] != '>';
	if (!ok)
		return refuse(problem, "It has the form <id@domain>, in ASCII.", NULL,
					  "invalid Message-ID");
	return true;
}

/*
 * Check a body: UTF-8; line breaks and controls are encoded, so they may stay.
 */
static bool
check_body(const char *field, const char *body, MjProblem *problem)
{
	size_t length = strlen(body);
	char detail[64];

	if (length > MJ_MIME_MAX_BODY)
		return refuse(problem, "A message's bodies can have 64 MB.", NULL,
					  "\"%s\" is too long", field);
	for (size_t at = 0; at < length;)
	{
		int n = utf8_length(body + at, length - at);

		if (n <= 0)
		{
			snprintf(detail, sizeof(detail),
					 "The byte at position %zu begins no UTF-8 character.",
					 at + 1);
			return refuse(problem, detail, NULL, "invalid UTF-8 in \"%s\"",
						  field);
		}
		at += n;
	}
	return true;
}

static bool
check_bodies(const MjMessage *message, MjProblem *problem)
{
	if (message->text == NULL && message->html == NULL)
		return refuse(problem, NULL, NULL,
					  "a message needs \"text\" or \"html\"");
	if (message->text && !check_body("text", message->text, problem))
		return false;
	if (message->html && !check_body("html", message->html, problem))
		return false;
	if (message->text && message->html &&
		strlen(message->text) + strlen(message->html) > MJ_MIME_MAX_BODY)
		return refuse(problem, "A message's bodies can have 64 MB.", NULL,
					  "\"text\" and \"html\" are too long");
	return true;
}

static bool
check_recipients(const MjMessage *message, MjProblem *problem)
{
	static const char *const fields[] = { "to", "cc", "bcc" };
	const MjAddressList *lists[] = { &message->to, &message->cc,
									 &message->bcc };
	int count = 0;

	for (size_t i = 0; i < lengthof(lists); i++)
	{
		for (int j = 0; j < lists[i]->nitems; j++)
		{
			if (!check_list(fields[i], lists[i]->items[j], &count, problem))
				return false;
		}
	}
	if (count == 0)
		return refuse(problem, NULL, NULL, "a message needs a recipient");
	return true;
}

/*
 * Check all of a message, without rendering it.  A NULL message_id passes, so
 * that a message can be checked before it has one.
 */
bool
mj_mime_check_message(const MjMessage *message, MjProblem *problem)
{
	MjMailbox from;

	if (message->from == NULL)
		return refuse(problem, NULL, NULL, "a message needs \"from\"");
	if (!mj_mime_parse_mailbox("from", message->from, &from, problem) ||
		(message->reply_to &&
		 !mj_mime_check_address("reply_to", message->reply_to, problem)) ||
		!check_recipients(message, problem) ||
		(message->subject &&
		 !check_value("\"subject\"", message->subject, problem)) ||
		!check_bodies(message, problem) ||
		(message->message_id &&
		 !check_message_id(message->message_id, problem)))
		return false;
	if (message->date < 0 || message->date > MAX_DATE)
		return refuse(problem, NULL, NULL, "date of message is out of range");
	for (int i = 0; i < message->nheaders; i++)
	{
		if (!mj_mime_check_header(message->headers[i].name,
								  message->headers[i].value, problem))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Base64 and folding
 * ------------------------------------------------------------------------
 */

/*
 * Append the base64 form of up to 3 bytes.
 */
static void
put_base64_group(StringInfo out, const unsigned char *s, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32 bits = (uint32) s[0] << 16;
	char group[4];

	if (n > 1)
		bits |= (uint32) s[1] << 8;
	if (n > 2)
		bits |= s[2];
	group[0] = digits[bits >> 18];
	group[1] = digits[(bits >> 12) & 63];
	group[2] = n > 1 ? digits[(bits >> 6) & 63] : '=';
	group[3] = n > 2 ? digits[bits & 63] : '=';
	appendBinaryStringInfo(out, group, 4);
}

/*
 * Append base64, in lines of line_length, or in one if that is 0.
 */
static void
put_base64(StringInfo out, const char *s, size_t length, int line_length)
{
	int column = 0;

	for (size_t i = 0; i < length; i += 3)
	{
		if (line_length > 0 && column == line_length)
		{
			appendBinaryStringInfo(out, "\r\n", 2);
			column = 0;
		}
		put_base64_group(out, (const unsigned char *) s + i,
						 Min(length - i, 3));
		column += 4;
	}
}

static void
fold_put(Fold *fold, const char *s, size_t length)
{
	appendBinaryStringInfo(fold->out, s, (int) length);
	fold->column += (int) length;
}

static void
fold_break(Fold *fold)
{
	appendBinaryStringInfo(fold->out, "\r\n", 2);
	fold->column = 0;
}

static void
fold_begin(Fold *fold, StringInfo out, const char *name)
{
	fold->out = out;
	fold->column = 0;
	fold_put(fold, name, strlen(name));
	fold_put(fold, ":", 1);
}

/*
 * Append text, which begins with blanks, breaking the line before blanks where
 * it would get too long.  The break after the header's name is left alone:
 * some readers dislike an empty first line.
 */
static void
fold_text(Fold *fold, const char *text, bool first)
{
	while (*text)
	{
		size_t blanks = strspn(text, " ");
		size_t length = blanks + strcspn(text + blanks, " ");

		if (fold->column + length > FOLD_COLUMN && !first)
			fold_break(fold);
		fold_put(fold, text, length);
		text += length;
		first = false;
	}
}

/* ------------------------------------------------------------------------
 * Encoded words (RFC 2047)
 * ------------------------------------------------------------------------
 */

/*
 * May c stand for itself in a Q-encoded word, also inside a phrase?
 */
static bool
is_q_safe(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!*+-/", c));
}

/*
 * Bytes that [s, s + n) takes in Q encoding
 */
static size_t
q_size(const char *s, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += is_q_safe(s[i]) || s[i] == ' ' ? 1 : 3;
	return size;
}

static size_t
b_size(size_t n)
{
	return (n + 2) / 3 * 4;
}

static void
put_q(StringInfo out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (is_q_safe(s[i]))
			appendStringInfoChar(out, s[i]);
		else if (c == ' ')
			appendStringInfoChar(out, '_');
		else
		{
			appendStringInfoChar(out, '=');
			appendStringInfoChar(out, hex_digits[c >> 4]);
			appendStringInfoChar(out, hex_digits[c & 15]);
		}
	}
}

/*
 * How many bytes of s, whole characters only, fit into room encoded bytes
 */
static size_t
fitting(const char *s, bool use_q, size_t room)
{
	size_t left = strlen(s);
	size_t n = 0;

	while (n < left)
	{
		int length = utf8_length(s + n, left - n);

		/* checked before; but never loop on what is not UTF-8 */
		if (length <= 0)
			length = 1;
		if ((use_q ? q_size(s, n + length) : b_size(n + length)) > room)
			break;
		n += length;
	}
	return n;
}

/*
 * Append one encoded word after a blank.
 */
static void
fold_word(Fold *fold, bool use_q, const char *s, size_t n)
{
	StringInfo out = fold->out;
	int start = out->len;

	appendStringInfoString(out, use_q ? " =?UTF-8?Q?" : " =?UTF-8?B?");
	if (use_q)
		put_q(out, s, n);
	else
		put_base64(out, s, n, 0);
	appendStringInfoString(out, "?=");
	fold->column += out->len - start;
}

/*
 * Append s as encoded words, each after a blank.  Readers drop the white space
 * between two of them, so that s comes back as it was.
 */
static void
fold_encoded(Fold *fold, const char *s)
{
	bool use_q = q_size(s, strlen(s)) <= b_size(strlen(s));

	while (*s)
	{
		int room = ENCODED_LINE - 1 - fold->column;
		size_t n = 0;

		room = Min(room, ENCODED_WORD) - ENCODED_FRAME;
		/* 12: the longest character in Q encoding */
		if (room >= 12)
			n = fitting(s, use_q, room);
		if (n == 0)
		{
			fold_break(fold);
			n = fitting(s, use_q, ENCODED_WORD - ENCODED_FRAME);
		}
		fold_word(fold, use_q, s, n);
		s += n;
	}
}

/* ------------------------------------------------------------------------
 * Headers
 * ------------------------------------------------------------------------
 */

/*
 * Must this value be encoded?  Besides what is not ASCII: what a reader would
 * take for an encoded word, white space that folding would lose, and words
 * that would overfill a line.
 */
static bool
needs_encoding(const char *value)
{
	size_t length = strlen(value);

	if (!is_ascii(value) || strstr(value, "=?") != NULL)
		return true;
	if (length > 0 && (value[0] == ' ' || value[length - 1] == ' '))
		return true;
	for (const char *p = value; *p;)
	{
		size_t word = strcspn(p, " ");

		if (word > MAX_UNENCODED_WORD)
			return true;
		p += word;
		p += strspn(p, " ");
	}
	return false;
}

static void
put_header(StringInfo out, const char *name, const char *value)
{
	Fold fold;

	fold_begin(&fold, out, name);
	if (needs_encoding(value))
		fold_encoded(&fold, value);
	else if (value[0] != '\0')
	{
		fold_put(&fold, " ", 1);
		fold_text(&fold, value, true);
	}
	fold_break(&fold);
}

/*
 * Is this name a phrase of atoms, which needs no quotes?
 */
static bool
is_phrase(const char *name)
{
	for (const char *p = name; *p; p++)
	{
		if (!is_atext(*p) && !(*p == ' ' && p[1] != ' '))
			return false;
	}
	return true;
}

/*
 * Append a display name, after a blank, in the plainest form that it permits.
 */
static void
fold_name(Fold *fold, const char *name, bool first)
{
	char text[2 * MJ_MIME_MAX_NAME + 4];
	size_t n = 0;
	bool phrase = is_phrase(name);

	if (needs_encoding(name) || (!phrase && strlen(name) > MAX_QUOTED_NAME))
	{
		fold_encoded(fold, name);
		return;
	}
	text[n++] = ' ';
	if (!phrase)
		text[n++] = '"';
	for (const char *p = name; *p; p++)
	{
		if (*p == '"' || *p == '\\')
			text[n++] = '\\';
		text[n++] = *p;
	}
	if (!phrase)
		text[n++] = '"';
	text[n] = '\0';
	fold_text(fold, text, first);
}

static void
fold_mailbox(Fold *fold, const MjMailbox *mailbox, bool first)
{
	char text[MJ_MIME_MAX_ADDRESS + 4];
	bool named = mailbox->name[0] != '\0';

	if (named)
		fold_name(fold, mailbox->name, first);
	snprintf(text, sizeof(text), named ? " <%s>" : " %s", mailbox->address);
	fold_text(fold, text, first && !named);
}

/*
 * Append the mailboxes of one item of a list.  False only if the item was not
 * checked before.
 */
static bool
fold_item(Fold *fold, const char *name, const char *item, bool *first,
		  MjProblem *problem)
{
	const char *cursor = item;
	MjMailbox mailbox;
	int got;

	while ((got = mj_mime_next_mailbox(name, &cursor, &mailbox, problem)) > 0)
	{
		if (!*first)
			fold_put(fold, ",", 1);
		fold_mailbox(fold, &mailbox, *first);
		*first = false;
	}
	return got == 0;
}

static bool
put_addresses(StringInfo out, const char *name, const char *const *items,
			  int nitems, MjProblem *problem)
{
	Fold fold;
	bool first = true;

	if (nitems == 0)
		return true;
	fold_begin(&fold, out, name);
	for (int i = 0; i < nitems; i++)
	{
		if (!fold_item(&fold, name, items[i], &first, problem))
			return false;
	}
	fold_break(&fold);
	return true;
}

static void
put_date(StringInfo out, int64 date)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed",
										"Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr",
										  "May", "Jun", "Jul", "Aug",
										  "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t) date;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	appendStringInfo(out, "Date: %s, %d %s %04d %02d:%02d:%02d +0000\r\n",
					 days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
					 tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool
put_headers(StringInfo out, const MjMessage *message, MjProblem *problem)
{
	put_date(out, message->date);
	if (!put_addresses(out, "From", &message->from, 1, problem) ||
		!put_addresses(out, "Reply-To", &message->reply_to,
					   message->reply_to ? 1 : 0, problem) ||
		!put_addresses(out, "To", message->to.items, message->to.nitems,
					   problem) ||
		!put_addresses(out, "Cc", message->cc.items, message->cc.nitems,
					   problem))
		return false;
	if (message->to.nitems == 0 && message->cc.nitems == 0)
		appendStringInfoString(out, "To: undisclosed-recipients:;\r\n");
	if (message->subject)
		put_header(out, "Subject", message->subject);
	appendStringInfo(out, "Message-ID: %s\r\n", message->message_id);
	for (int i = 0; i < message->nheaders; i++)
		put_header(out, message->headers[i].name, message->headers[i].value);
	appendStringInfoString(out, "MIME-Version: 1.0\r\n");
	return true;
}

/* ------------------------------------------------------------------------
 * Body
 * ------------------------------------------------------------------------
 */

/*
 * Append s with every kind of line end made CRLF.
 */
static void
put_canonical(StringInfo out, const char *s)
{
	while (*s)
	{
		size_t length = strcspn(s, "\r\n");

		appendBinaryStringInfo(out, s, (int) length);
		s += length;
		if (*s == '\0')
			break;
		s += (s[0] == '\r' && s[1] == '\n') ? 2 : 1;
		appendBinaryStringInfo(out, "\r\n", 2);
	}
}

/*
 * The smallest encoding that carries this text, whose line ends are CRLF
 */
static Encoding
choose_encoding(const char *s, size_t length)
{
	size_t special = 0; /* not plain text */
	size_t equals = 0;
	size_t line = 0;
	size_t longest = 0;
	size_t qp;

	for (size_t i = 0; i < length; i++)
	{
		if (s[i] == '\n')
		{
			longest = Max(longest, line - 1);
			line = 0;
			continue;
		}
		line++;
		if (s[i] == '=')
			equals++;
		else if (!is_printable(s[i]) && s[i] != '\t' && s[i] != '\r')
			special++;
	}
	longest = Max(longest, line);
	if (special == 0 && longest <= MAX_LINE)
		return ENCODING_7BIT;
	qp = length + 2 * (special + equals);
	qp += qp / BODY_LINE * 3; /* soft line breaks */
	return qp <= length / 3 * 4 ? ENCODING_QP : ENCODING_BASE64;
}

/*
 * Append one line, without its end, as quoted-printable.
 */
static void
put_qp_line(StringInfo out, const char *s, size_t length)
{
	int column = 0;

	for (size_t i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) s[i];
		bool last = i == length - 1;
		bool literal = (is_printable(s[i]) && c != '=') || c == '\t';
		int width;

		/* white space before a line's end would be dropped on the way */
		if (last && (c == ' ' || c == '\t'))
			literal = false;
		width = literal ? 1 : 3;
		/* one column stays for the soft break's "=" */
		if (column + width > BODY_LINE - (last ? 0 : 1))
		{
			appendBinaryStringInfo(out, "=\r\n", 3);
			column = 0;
		}
		if (literal)
			appendStringInfoChar(out, s[i]);
		else
		{
			char code[3] = { '=', hex_digits[c >> 4], hex_digits[c & 15] };

			appendBinaryStringInfo(out, code, 3);
		}
		column += width;
	}
}

static void
put_qp(StringInfo out, const char *s, size_t length)
{
	size_t at = 0;

	while (at < length)
	{
		const char *cr = memchr(s + at, '\r', length - at);
		size_t n = cr ? (size_t) (cr - s) - at : length - at;

		put_qp_line(out, s + at, n);
		at += n;
		if (cr)
		{
			appendBinaryStringInfo(out, "\r\n", 2);
			at += 2;
		}
	}
}

/*
 * Make a part from a body.  The part's data is allocated.
 */
static void
make_part(Part *part, const char *type, const char *body)
{
	StringInfoData text;

	initStringInfo(&text);
	put_canonical(&text, body);
	part->type = type;
	part->encoding = choose_encoding(text.data, text.len);
	if (part->encoding == ENCODING_7BIT)
	{
		part->data = text;
		return;
	}
	initStringInfo(&part->data);
	if (part->encoding == ENCODING_QP)
		put_qp(&part->data, text.data, text.len);
	else
		put_base64(&part->data, text.data, text.len, BODY_LINE);
	pfree(text.data);
}

static void
put_part(StringInfo out, const Part *part)
{
	appendStringInfo(out,
					 "Content-Type: %s; charset=utf-8\r\n"
					 "Content-Transfer-Encoding: %s\r\n\r\n",
					 part->type, encoding_names[part->encoding]);
	appendBinaryStringInfo(out, part->data.data, part->data.len);
}

/*
 * FNV-1a, 64 bits: spreads Message-IDs over boundaries, no more.
 */
static uint64
hash_string(const char *s, uint64 hash)
{
	for (; *s; s++)
		hash = (hash ^ (unsigned char) *s) * UINT64CONST(0x100000001b3);
	return hash;
}

/*
 * Find a boundary that no part contains.  The same message always gets the
 * same one, so that an attempt's bytes equal the last attempt's.
 */
static void
choose_boundary(char *boundary, size_t size, const char *message_id,
				const Part *parts, int nparts)
{
	uint64 hash = hash_string(message_id, UINT64CONST(0xcbf29ce484222325));
	bool found;

	do
	{
		hash = hash_string("+", hash);
		/* "=_" occurs neither in quoted-printable nor in base64 */
		snprintf(boundary, size, "=_%08x%08x", (uint32) (hash >> 32),
				 (uint32) hash);
		found = false;
		for (int i = 0; i < nparts; i++)
			found |= strstr(parts[i].data.data, boundary) != NULL;
	} while (found);
}

static void
put_multipart(StringInfo out, const MjMessage *message, const Part *parts,
			  int nparts)
{
	char boundary[32];

	choose_boundary(boundary, sizeof(boundary), message->message_id, parts,
					nparts);
	appendStringInfo(out,
					 "Content-Type: multipart/alternative;\r\n"
					 " boundary=\"%s\"\r\n\r\n",
					 boundary);
	for (int i = 0; i < nparts; i++)
	{
		appendStringInfo(out, "--%s\r\n", boundary);
		put_part(out, &parts[i]);
		appendBinaryStringInfo(out, "\r\n", 2);
	}
	appendStringInfo(out, "--%s--\r\n", boundary);
}

static void
put_body(StringInfo out, const MjMessage *message)
{
	Part parts[2];
	int nparts = 0;

	/* plain first: RFC 2046 wants the best alternative last */
	if (message->text)
		make_part(&parts[nparts++], "text/plain", message->text);
	if (message->html)
		make_part(&parts[nparts++], "text/html", message->html);
	if (nparts == 2)
		put_multipart(out, message, parts, nparts);
	else
	{
		put_part(out, &parts[0]);
		if (out->len < 2 || out->data[out->len - 1] != '\n')
			appendBinaryStringInfo(out, "\r\n", 2);
	}
	for (int i = 0; i < nparts; i++)
		pfree(parts[i].data.data);
}

/*
 * Append the message to out, in the form that goes into a .eml file, and
 * dot-stuffed to SMTP.  The same input gives the same bytes.  False, with out
 * as it was, if something in the message is refused.  Allocates in the current
 * memory context; in the server, running out of memory is an error.
 */
bool
mj_mime_render(const MjMessage *message, StringInfo out, MjProblem *problem)
{
	int start = out->len;

	if (message->message_id == NULL)
		return refuse(problem, NULL, NULL, "a message needs a Message-ID");
	if (!mj_mime_check_message(message, problem))
		return false;
	if (!put_headers(out, message, problem))
	{
		out->len = start;
		out->data[start] = '\0';
		return false;
	}
	put_body(out, message);
	return true;
}
