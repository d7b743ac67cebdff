/*-------------------------------------------------------------------------
 *
 * mime.c
 *	  A mail message: checked, and rendered to strict bytes.
 *
 * Follows RFC 5322 (message), 2045 to 2047 and 2231 (MIME), 5321 (limits) and
 * 8058 (unsubscribing).  What leaves here has CRLF line ends only, no line
 * over 998 bytes, and is 7-bit, but for addresses that are not ASCII before
 * the "@" (RFC 6532).  It is not dot-stuffed: that belongs to SMTP's DATA.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <time.h>

#include "mime_part.h"

#define MAX_DATE INT64CONST(253402300799) /* end of 9999 */
#define MAX_URL 900						  /* it cannot be folded */
#define MAX_URLS 5
#define BLANKS " \t\r\n"

/* Headers that are written here, or by the servers on the way */
static const char *const reserved_headers[] = {
	"From",			"Reply-To",	   "To",	   "Cc",
	"Bcc",			"Subject",	   "Date",	   "Message-ID",
	"MIME-Version", "Return-Path", "Received", "DKIM-Signature"
};

/* Everything that begins like this is reserved as well */
static const char *const reserved_prefixes[] = { "Content-", "Resent-" };

/* What is made of MjMessage.unsubscribe */
static const char *const unsubscribe_headers[] = { "List-Unsubscribe",
												   "List-Unsubscribe-Post" };

/* ------------------------------------------------------------------------
 * Extra headers
 * ------------------------------------------------------------------------
 */

/* Is name one of names, whatever the case? */
static bool
is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_reserved(const char *name)
{
	for (size_t i = 0; i < lengthof(reserved_prefixes); i++)
	{
		if (pg_strncasecmp(name, reserved_prefixes[i],
						   strlen(reserved_prefixes[i])) == 0)
			return true;
	}
	return is_one_of(name, reserved_headers, lengthof(reserved_headers));
}

/* Check the name of an extra header, and whether it may be set. */
static bool
check_header_name(const char *name, MjProblem *problem)
{
	size_t length = strlen(name);

	if (length == 0)
		return mj_mime_refuse(problem, NULL, NULL,
							  "empty header name in \"headers\"");
	if (length > 64)
		return mj_mime_refuse(problem, "A header name can have 64 characters.",
							  NULL, "header name in \"headers\" is too long");
	for (size_t i = 0; i < length; i++)
	{
		if (name[i] <= 0x20 || name[i] >= 0x7f || name[i] == ':')
			return mj_mime_refuse(
				problem,
				"A header name consists of printable ASCII characters without blank and colon.",
				NULL, "invalid header name in \"headers\"");
	}
	if (is_reserved(name))
		return mj_mime_refuse(
			problem, NULL,
			"Headers of address, subject, date and content are made from the message's own fields.",
			"header \"%s\" cannot be set", name);
	return true;
}

/* Does each "<" have its ">", and none another within? */
static bool
is_balanced(const char *value)
{
	bool open = false;

	for (; *value; value++)
	{
		if (*value == (open ? '<' : '>'))
			return false;
		if (*value == '<' || *value == '>')
			open = !open;
	}
	return !open;
}

/*
 * Check an extra header: its name, whether it may be set, and its value.
 */
bool
mj_mime_check_header(const char *name, const char *value, MjProblem *problem)
{
	char what[80];

	if (!check_header_name(name, problem))
		return false;
	snprintf(what, sizeof(what), "header \"%s\"", name);
	if (!mj_mime_check_value(what, value, problem))
		return false;
	if (!is_balanced(value))
		return mj_mime_refuse(
			problem, "Readers take what stands between them for an address.",
			NULL, "unbalanced \"<\" and \">\" in %s", what);
	return true;
}

/* Has a header before this one the same name? */
static bool
is_repeated(const MjHeader *headers, int at)
{
	for (int i = 0; i < at; i++)
	{
		if (pg_strcasecmp(headers[i].name, headers[at].name) == 0)
			return true;
	}
	return false;
}

static bool
check_headers(const MjMessage *message, MjProblem *problem)
{
	if (message->nheaders > MJ_MIME_MAX_HEADERS)
		return mj_mime_refuse(problem, "A message can have 100 extra headers.",
							  NULL, "too many \"headers\"");
	for (int i = 0; i < message->nheaders; i++)
	{
		const char *name = message->headers[i].name;

		if (!mj_mime_check_header(name, message->headers[i].value, problem))
			return false;
		if (is_repeated(message->headers, i))
			return mj_mime_refuse(problem, NULL, NULL,
								  "header \"%s\" is there twice", name);
		if (message->unsubscribe &&
			is_one_of(name, unsubscribe_headers, lengthof(unsubscribe_headers)))
			return mj_mime_refuse(problem, NULL, NULL,
								  "header \"%s\" is made of \"unsubscribe\"",
								  name);
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Unsubscribing (RFC 2369, 8058)
 * ------------------------------------------------------------------------
 */

static bool
is_https(const char *url)
{
	return pg_strncasecmp(url, "https://", 8) == 0 && url[8] != '\0' &&
		strchr(BLANKS, url[8]) == NULL;
}

static bool
is_mailto(const char *url)
{
	return pg_strncasecmp(url, "mailto:", 7) == 0 && url[7] != '\0' &&
		strchr(BLANKS, url[7]) == NULL;
}

/* Check one URL, [url, url + length). */
static bool
check_url(const char *url, size_t length, MjProblem *problem)
{
	if (!is_https(url) && !is_mailto(url))
		return mj_mime_refuse(
			problem, "Mail programs unsubscribe by https: and mailto: only.",
			"Separate several URLs by blanks.",
			"\"unsubscribe\" is not an https: or mailto: URL");
	if (length > MAX_URL)
		return mj_mime_refuse(problem, "A URL can have 900 bytes.", NULL,
							  "\"unsubscribe\" is too long");
	for (size_t i = 0; i < length; i++)
	{
		if (!mj_is_printable(url[i]) || strchr("<>\",", url[i]) != NULL)
			return mj_mime_refuse(
				problem,
				"A URL consists of printable ASCII characters without <, >, \" and comma.",
				"Write other characters as %XX.",
				"character not allowed in \"unsubscribe\"");
	}
	return true;
}

/* Check the URLs: https: once at most, for it is the one that is posted to. */
static bool
check_unsubscribe(const char *urls, MjProblem *problem)
{
	int nhttps = 0;
	int n = 0;

	if (urls == NULL)
		return true;
	if (strpbrk(urls, "\r\n") != NULL)
		return mj_mime_refuse(problem, NULL, NULL,
							  "line breaks are not allowed in \"unsubscribe\"");
	for (urls += strspn(urls, BLANKS); *urls; n++)
	{
		size_t length = strcspn(urls, BLANKS);

		if (!check_url(urls, length, problem))
			return false;
		nhttps += is_https(urls);
		urls += length;
		urls += strspn(urls, BLANKS);
	}
	if (n == 0)
		return mj_mime_refuse(problem, NULL, NULL,
							  "\"unsubscribe\" must not be empty");
	if (nhttps > 1 || n > MAX_URLS)
		return mj_mime_refuse(problem,
							  "It has one https: URL at most, and five in all.",
							  NULL, "too many URLs in \"unsubscribe\"");
	return true;
}

/* ------------------------------------------------------------------------
 * Checks
 * ------------------------------------------------------------------------
 */

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
		return mj_mime_refuse(problem, "It has the form <id@domain>, in ASCII.",
							  NULL, "invalid Message-ID");
	return true;
}

static bool
check_bodies(const MjMessage *message, MjProblem *problem)
{
	if (message->text == NULL && message->html == NULL)
		return mj_mime_refuse(problem, NULL, NULL,
							  "a message needs \"body_text\" or \"body_html\"");
	if (message->text &&
		!mj_mime_check_text("body_text", message->text, problem))
		return false;
	if (message->html &&
		!mj_mime_check_text("body_html", message->html, problem))
		return false;
	if (message->text && message->html &&
		strlen(message->text) + strlen(message->html) > MJ_MIME_MAX_BODY)
		return mj_mime_refuse(problem, "A message's bodies can have 64 MB.",
							  NULL,
							  "\"body_text\" and \"body_html\" are too long");
	return true;
}

static bool
check_recipients(const MjMessage *message, MjProblem *problem)
{
	static const char *const fields[] = { "recipient", "cc", "bcc" };
	const MjAddressList *lists[] = { &message->to, &message->cc,
									 &message->bcc };
	int count = 0;

	for (size_t i = 0; i < lengthof(lists); i++)
	{
		for (int j = 0; j < lists[i]->nitems; j++)
		{
			if (!mj_mime_check_list(fields[i], lists[i]->items[j], &count,
									problem))
				return false;
		}
	}
	if (count == 0)
		return mj_mime_refuse(problem, NULL, NULL,
							  "a message needs a recipient");
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
		return mj_mime_refuse(problem, NULL, NULL,
							  "a message needs \"sender\"");
	if (!mj_mime_parse_mailbox("sender", message->from, &from, problem) ||
		(message->reply_to &&
		 !mj_mime_check_address("reply_to", message->reply_to, problem)) ||
		!check_recipients(message, problem) ||
		(message->subject &&
		 !mj_mime_check_value("\"subject\"", message->subject, problem)) ||
		!check_bodies(message, problem) ||
		(message->message_id &&
		 !check_message_id(message->message_id, problem)))
		return false;
	if (message->date < 0 || message->date > MAX_DATE)
		return mj_mime_refuse(problem, NULL, NULL,
							  "date of message is out of range");
	return (message->original_to == NULL ||
			mj_mime_check_value("original recipient", message->original_to,
								problem)) &&
		check_headers(message, problem) &&
		check_unsubscribe(message->unsubscribe, problem) &&
		mj_mime_check_attachments(message, problem);
}

/* ------------------------------------------------------------------------
 * Size
 * ------------------------------------------------------------------------
 */

/*
 * Bytes that a header with this text, or these addresses, cannot exceed: in
 * quoted-printable a byte takes 3, and each encoded word of 12 bytes or more
 * has a frame of 16.
 */
static size_t
header_bound(const char *text)
{
	return text ? 256 + 5 * strlen(text) : 0;
}

/* That of a body: base64 of what is a line end in every other byte. */
static size_t
body_bound(const char *text)
{
	return text ? 512 + 3 * strlen(text) : 0;
}

static size_t
list_bound(const MjAddressList *list)
{
	size_t bound = 0;

	for (int i = 0; i < list->nitems; i++)
		bound += header_bound(list->items[i]);
	return bound;
}

/*
 * Bytes that the message cannot exceed when it is rendered, known without
 * rendering it; at most about 5 times as many.
 */
size_t
mj_mime_size_bound(const MjMessage *message)
{
	size_t bound = 2048 + header_bound(message->from) +
		header_bound(message->reply_to) + list_bound(&message->to) +
		list_bound(&message->cc) + header_bound(message->subject) +
		header_bound(message->original_to) +
		header_bound(message->unsubscribe) + body_bound(message->text) +
		body_bound(message->html);

	for (int i = 0; i < message->nheaders; i++)
		bound += header_bound(message->headers[i].name) +
			header_bound(message->headers[i].value);
	for (int i = 0; i < message->nattachments; i++)
		bound += 1024 + header_bound(message->attachments[i].filename) +
			message->attachments[i].length / 57 * 78 + 78;
	return bound;
}

/* ------------------------------------------------------------------------
 * Rendering
 * ------------------------------------------------------------------------
 */

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

/* Append what lets a reader unsubscribe, if it is asked for. */
static void
put_unsubscribe(StringInfo out, const char *urls)
{
	bool first = true;
	bool by_https = false;
	MjFold fold;

	if (urls == NULL)
		return;
	mj_fold_begin(&fold, out, "List-Unsubscribe");
	for (urls += strspn(urls, BLANKS); *urls; first = false)
	{
		size_t length = strcspn(urls, BLANKS);
		char text[MAX_URL + 8];

		by_https |= is_https(urls);
		snprintf(text, sizeof(text), " <%.*s>%s", (int) length, urls,
				 urls[length + strspn(urls + length, BLANKS)] ? "," : "");
		mj_fold_text(&fold, text, first);
		urls += length;
		urls += strspn(urls, BLANKS);
	}
	mj_fold_break(&fold);
	if (by_https)
		appendStringInfoString(
			out, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
}

/* Append all headers but those of the body. */
static bool
put_headers(StringInfo out, const MjMessage *message, MjProblem *problem)
{
	put_date(out, message->date);
	if (!mj_mime_put_addresses(out, "From", &message->from, 1, problem) ||
		!mj_mime_put_addresses(out, "Reply-To", &message->reply_to,
							   message->reply_to ? 1 : 0, problem) ||
		!mj_mime_put_addresses(out, "To", message->to.items, message->to.nitems,
							   problem) ||
		!mj_mime_put_addresses(out, "Cc", message->cc.items, message->cc.nitems,
							   problem))
		return false;
	if (message->to.nitems == 0 && message->cc.nitems == 0)
		appendStringInfoString(out, "To: undisclosed-recipients:;\r\n");
	if (message->subject)
		mj_mime_put_header(out, "Subject", message->subject);
	appendStringInfo(out, "Message-ID: %s\r\n", message->message_id);
	for (int i = 0; i < message->nheaders; i++)
		mj_mime_put_header(out, message->headers[i].name,
						   message->headers[i].value);
	if (message->original_to)
		mj_mime_put_header(out, "X-Original-To", message->original_to);
	put_unsubscribe(out, message->unsubscribe);
	appendStringInfoString(out, "MIME-Version: 1.0\r\n");
	return true;
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
		return mj_mime_refuse(problem, NULL, NULL,
							  "a message needs a Message-ID");
	if (!mj_mime_check_message(message, problem))
		return false;
	if (!put_headers(out, message, problem))
	{
		out->len = start;
		out->data[start] = '\0';
		return false;
	}
	mj_mime_put_body(out, message);
	return true;
}
