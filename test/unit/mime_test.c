/*-------------------------------------------------------------------------
 *
 * mime_test.c
 *	  Unit tests of message rendering: what is refused, and the exact bytes of
 *	  what is not.  (That other parsers read them is tested by mail_bytes.py.)
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mail_tap.h"
#include "mime.h"

#define ONE(item) \
	{ \
		(const char *const[]){ item }, 1 \
	}

static const MjMessage plain = {
	.from = "a@b.example",
	.to = ONE("c@d.example"),
	.subject = "Hi",
	.text = "Hello\n",
	.message_id = "<1@b.example>",
	.date = 951782400 /* a leap day */
};

static StringInfoData rendered;
static MjProblem problem;

static const char *
render(const MjMessage *message)
{
	resetStringInfo(&rendered);
	memset(&problem, 0, sizeof(problem));
	if (mj_mime_render(message, &rendered, &problem))
		return rendered.data;
	return problem.message;
}

/* The value of a header, still folded, in static memory */
static const char *
header(const MjMessage *message, const char *name)
{
	static char value[16384];
	char start[80];
	const char *at;
	const char *end;

	snprintf(start, sizeof(start), "\r\n%s:", name);
	at = strstr(render(message), start);
	if (at == NULL)
		return "(none)";
	at += strlen(start);
	end = at;
	do
		end = strstr(end, "\r\n") + 2;
	while (*end == ' ');
	snprintf(value, sizeof(value), "%.*s", (int) (end - 2 - at), at);
	return value;
}

static void
test_bytes(void)
{
	MjMessage message = plain;
	const char *first;
	char *copy;

	tap_is(render(&message),
		   "Date: Tue, 29 Feb 2000 00:00:00 +0000\r\n"
		   "From: a@b.example\r\n"
		   "To: c@d.example\r\n"
		   "Subject: Hi\r\n"
		   "Message-ID: <1@b.example>\r\n"
		   "MIME-Version: 1.0\r\n"
		   "Content-Type: text/plain; charset=utf-8\r\n"
		   "Content-Transfer-Encoding: 7bit\r\n"
		   "\r\n"
		   "Hello\r\n",
		   "a plain message, byte for byte");
	message.html = "<p>Hello</p>";
	message.text = ".\n..x\r\ny\rz";
	first = strstr(render(&message), "Content-Type: multipart");
	tap_is(first,
		   "Content-Type: multipart/alternative;\r\n"
		   " boundary=\"=_194059b325bb4827a\"\r\n"
		   "\r\n"
		   "--=_194059b325bb4827a\r\n"
		   "Content-Type: text/plain; charset=utf-8\r\n"
		   "Content-Transfer-Encoding: 7bit\r\n"
		   "\r\n"
		   ".\r\n..x\r\ny\r\nz\r\n"
		   "--=_194059b325bb4827a\r\n"
		   "Content-Type: text/html; charset=utf-8\r\n"
		   "Content-Transfer-Encoding: 7bit\r\n"
		   "\r\n"
		   "<p>Hello</p>\r\n"
		   "--=_194059b325bb4827a--\r\n",
		   "text and html; line ends made CRLF, dots left alone");
	copy = strdup(rendered.data);
	tap_is(render(&message), copy, "the same message gives the same bytes");
	free(copy);
	message.text = "--=_194059b325bb4827--\n";
	tap_ok(strstr(render(&message), "boundary=\"=_194059b325bb4827a\"") == NULL,
		   "a boundary that occurs in a body is not taken");
	message.text = "";
	message.html = NULL;
	first = strstr(render(&message), "\r\n\r\n");
	tap_is(first, "\r\n\r\n", "an empty body is a body");
}

static void
test_out(void)
{
	MjMessage message = plain;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "before");
	message.message_id = "x";
	tap_ok(!mj_mime_render(&message, &out, &problem) &&
			   strcmp(out.data, "before") == 0 && out.len == 6,
		   "a refused message leaves the output as it was");
	message.message_id = plain.message_id;
	tap_ok(mj_mime_render(&message, &out, &problem) &&
			   strncmp(out.data, "beforeDate:", 11) == 0,
		   "a message is appended");
	pfree(out.data);
}

/* The first line of a message of that second, or the problem */
static const char *
date(int64 seconds)
{
	static char line[256];
	MjMessage message = plain;
	const char *text;

	message.date = seconds;
	text = render(&message);
	snprintf(line, sizeof(line), "%.*s", (int) strcspn(text, "\r"), text);
	return line;
}

/*
 * A byte that is not plain text is seen wherever it stands, and nothing else is
 * taken for one.
 */
static void
test_encodings(void)
{
	MjMessage message = plain;
	char text[] = "0123456789 123456789 123456789\r\n123456789";
	const size_t line = strcspn(text, "\r");
	int wrong = 0;

	message.text = text;
	for (size_t at = 0; at < line; at++)
	{
		char before = text[at];

		for (int c = 1; c < 128; c++)
		{
			bool plain_text = (c >= 0x20 && c < 0x7f) || c == '\t';

			if (c == '\r' || c == '\n')
				continue;
			text[at] = (char) c;
			wrong += plain_text !=
				(strstr(render(&message), "Encoding: 7bit\r\n") != NULL);
		}
		text[at] = before;
	}
	tap_ok(wrong == 0, "encodings: each ASCII character in each place");
	memcpy(text + 7, "\xc3\xbc", 2);
	tap_ok(strstr(render(&message), "quoted-printable") != NULL,
		   "encodings: a letter over the end of a word");
}

static void
test_dates(void)
{
	tap_is(date(0), "Date: Thu, 1 Jan 1970 00:00:00 +0000", "date: epoch");
	tap_is(date(2147483648), "Date: Tue, 19 Jan 2038 03:14:08 +0000",
		   "date: beyond 32 bits");
	tap_is(date(INT64CONST(253402300799)),
		   "Date: Fri, 31 Dec 9999 23:59:59 +0000", "date: the last one");
	tap_is(date(INT64CONST(253402300800)), "date of message is out of range",
		   "date: too late");
	tap_is(date(-1), "date of message is out of range", "date: too early");
}

static void
test_subject(void)
{
	MjMessage message = plain;

	message.subject = "";
	tap_is(header(&message, "Subject"), "", "subject: empty");
	message.subject = NULL;
	tap_is(header(&message, "Subject"), "(none)", "subject: none");
	message.subject = "Gr\xc3\xbc\xc3\x9f"
					  "e aus K\xc3\xb6ln";
	tap_is(header(&message, "Subject"), " =?UTF-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=",
		   "subject: the shorter of B and Q (B)");
	message.subject = "a rather long line with one \xc3\xbc in it";
	tap_is(header(&message, "Subject"),
		   " =?UTF-8?Q?a_rather_long_line_with_one_=C3=BC_in_it?=",
		   "subject: the shorter of B and Q (Q)");
	message.subject = "=?UTF-8?Q?x?=";
	tap_is(header(&message, "Subject"), " =?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=",
		   "subject: what looks encoded is encoded");
	message.subject = " x ";
	tap_is(header(&message, "Subject"),
		   " =?UTF-8?Q?_x_?=", "subject: outer blanks are kept by encoding");
	message.subject =
		"one two three four five six seven eight nine ten eleven twelve thirteen  fourteen";
	tap_is(header(&message, "Subject"),
		   " one two three four five six seven eight nine ten eleven twelve\r\n"
		   " thirteen  fourteen",
		   "subject: folded before a blank at 78");
}

/*
 * However long a subject of 4-byte characters is: encoded words of at most 75
 * bytes, lines of at most 76, no character cut.
 */
static void
test_long_subject(void)
{
	char subject[4 * 600 + 2];
	MjMessage message = plain;
	bool lengths_ok = true;
	bool whole = true;
	const char *value;

	subject[0] = 'x';
	for (int i = 0; i < 600; i++)
		memcpy(subject + 1 + 4 * i, "\xf0\x9f\x98\x80", 4);
	subject[1 + 4 * 600] = '\0';
	message.subject = subject;
	value = header(&message, "Subject");
	for (const char *p = value; *p;)
	{
		size_t length = strcspn(p, "\r");

		lengths_ok &= length <= 76 - (p == value ? strlen("Subject:") : 0);
		/* 4-byte characters fill base64 groups only in threes */
		whole &= strncmp(p, " =?UTF-8?B?", 11) == 0 &&
			strncmp(p + length - 2, "?=", 2) == 0;
		p += length;
		p += strspn(p, "\r\n");
	}
	tap_ok(lengths_ok, "long subject: lines of at most 76 bytes");
	tap_ok(whole, "long subject: each line an encoded word");
}

static void
test_names(void)
{
	static const struct
	{
		const char *from;
		const char *wanted;
	} cases[] = {
		{ "Motionify Portal <a@b.example>", " Motionify Portal <a@b.example>" },
		{ "  a@b.example ", " a@b.example" },
		{ "<a@b.example>", " a@b.example" },
		{ "\"Smith, J.\" <a@b.example>", " \"Smith, J.\" <a@b.example>" },
		{ "J. Smith <a@b.example>", " \"J. Smith\" <a@b.example>" },
		{ "\"a \\\"b\\\" \\\\\" <a@b.example>",
		  " \"a \\\"b\\\" \\\\\" <a@b.example>" },
		{ "J\xc3\xbcrgen <a@b.example>",
		  " =?UTF-8?Q?J=C3=BCrgen?= <a@b.example>" },
		{ "\"=?x?q?y?=\" <a@b.example>",
		  " =?UTF-8?B?PT94P3E/eT89?= <a@b.example>" },
		{ "a@b.example <a@b.example>", " \"a@b.example\" <a@b.example>" },
		{ "root@[127.0.0.1]", " root@[127.0.0.1]" },
	};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		MjMessage message = plain;

		message.from = cases[i].from;
		tap_is(header(&message, "From"), cases[i].wanted, cases[i].from);
	}
}

static void
test_lists(void)
{
	static const char *const to[] = { "a@b.example, \"x, y\" <c@d.example>",
									  "e@f.example" };
	MjMessage message = plain;
	const char *cursor = to[0];
	MjMailbox mailbox;

	message.to.items = to;
	message.to.nitems = 2;
	message.bcc = (MjAddressList) ONE("secret@b.example");
	tap_is(header(&message, "To"),
		   " a@b.example, \"x, y\" <c@d.example>, e@f.example",
		   "list: items and lists in items");
	tap_ok(strstr(rendered.data, "secret") == NULL, "bcc is in no header");
	message.to.nitems = 0;
	tap_is(header(&message, "To"), " undisclosed-recipients:;",
		   "bcc alone: undisclosed recipients");

	tap_is_int(mj_mime_next_mailbox("to", &cursor, &mailbox, &problem), 1,
			   "cursor: first");
	tap_is(mailbox.address, "a@b.example", "cursor: its address");
	tap_is_int(mj_mime_next_mailbox("to", &cursor, &mailbox, &problem), 1,
			   "cursor: second");
	tap_is(mailbox.address, "c@d.example", "cursor: its address");
	tap_is(mailbox.name, "x, y", "cursor: its name, without quotes");
	tap_is_int(mj_mime_next_mailbox("to", &cursor, &mailbox, &problem), 0,
			   "cursor: the end");
}

static const struct
{
	const char *address;
	const char *wanted;
} bad_addresses[] = {
	{ "", "invalid address in \"to\": it is empty" },
	{ "   ", "invalid address in \"to\": it is empty" },
	{ "joe", "invalid address in \"to\": the \"@\" is missing" },
	{ "@b", "invalid address in \"to\": nothing before the \"@\"" },
	{ "a@", "invalid address in \"to\": malformed domain after the \"@\"" },
	{ "a@b..c", "invalid address in \"to\": malformed domain after the \"@\"" },
	{ "a@-b", "invalid address in \"to\": malformed domain after the \"@\"" },
	{ "a@b-.c", "invalid address in \"to\": malformed domain after the \"@\"" },
	{ "a@b_c",
	  "invalid address in \"to\": character not allowed after the \"@\"" },
	{ "a@[1.2.3.4", "invalid address in \"to\": malformed address literal" },
	{ ".a@b", "invalid address in \"to\": misplaced dot before the \"@\"" },
	{ "a..b@c", "invalid address in \"to\": misplaced dot before the \"@\"" },
	{ "a b@c",
	  "invalid address in \"to\": character not allowed before the \"@\"" },
	{ "a@b@c",
	  "invalid address in \"to\": character not allowed before the \"@\"" },
	{ "\"a b\"@c",
	  "invalid address in \"to\": character not allowed before the \"@\"" },
	{ "a@b,", "invalid address in \"to\": nothing follows the last comma" },
	{ ",a@b", "invalid address in \"to\": it is empty" },
	{ "a@b,,c@d", "invalid address in \"to\": it is empty" },
	{ "x <a@b", "invalid address in \"to\": unbalanced \"<\" and \">\"" },
	{ "x a@b>", "invalid address in \"to\": unbalanced \"<\" and \">\"" },
	{ "x <<a@b>", "invalid address in \"to\": unbalanced \"<\" and \">\"" },
	{ "x <a@b>>", "invalid address in \"to\": something follows the \">\"" },
	{ "x <a@b> y", "invalid address in \"to\": something follows the \">\"" },
	{ "x> <a@b>",
	  "invalid address in \"to\": the display name needs double quotes" },
	{ "\"x <a@b>", "invalid address in \"to\": a double quote is not closed" },
	{ "<>", "invalid address in \"to\": it is empty" },
	{ "a\r\nBcc: x@y <a@b>",
	  "line breaks and control characters are not allowed in address in \"to\"" },
	{ "a@b\n",
	  "line breaks and control characters are not allowed in address in \"to\"" },
	{ "a\x01@b",
	  "line breaks and control characters are not allowed in address in \"to\"" },
	{ "\"a\xc2\x85\" <a@b>",
	  "line breaks and control characters are not allowed in address in \"to\"" },
	{ "\"a\xe2\x80\xa8\" <a@b>",
	  "line breaks and control characters are not allowed in address in \"to\"" },
	{ "\xff <a@b>", "invalid UTF-8 in address in \"to\"" },
	{ "\xc3 <a@b>", "invalid UTF-8 in address in \"to\"" },
	{ "\xc0\xaf <a@b>", "invalid UTF-8 in address in \"to\"" },
	{ "\xed\xa0\x80 <a@b>", "invalid UTF-8 in address in \"to\"" },
	{ "j@k\xe2\x82\xacln.example\xe2\x80\x8b\xe3\x80\x82",
	  "invalid address in \"to\": there is no such internationalized domain" },
	{ "j@-\xc3\xb6.example",
	  "invalid address in \"to\": there is no such internationalized domain" },
	{ "j@\xcd\x8f\xc3\xb6 x.example",
	  "invalid address in \"to\": there is no such internationalized domain" },
	{ "j\xc2\xa0k@b.example",
	  "invalid address in \"to\": character not allowed before the \"@\"" },
	{ "jo\xe2\x80\x8b@b.example",
	  "invalid address in \"to\": character not allowed before the \"@\"" },
};

static void
test_bad_addresses(void)
{
	for (size_t i = 0; i < lengthof(bad_addresses); i++)
	{
		char name[64];

		memset(&problem, 0, sizeof(problem));
		snprintf(name, sizeof(name), "bad address %zu", i + 1);
		if (mj_mime_check_address("to", bad_addresses[i].address, &problem))
			strlcpy(problem.message, "(accepted)", sizeof(problem.message));
		tap_is(problem.message, bad_addresses[i].wanted, name);
	}
}

/* Addresses that are not ASCII: what is written, and what SMTP needs. */
static void
test_international(void)
{
	static const struct
	{
		const char *address;
		const char *wanted;
		bool utf8;
	} cases[] = {
		{ "j@k\xc3\xb6ln.example", "j@xn--kln-sna.example", false },
		{ "j@K\xc3\x96LN.example", "j@xn--kln-sna.example", false },
		{ "j@ko\xcc\x88ln.example", "j@xn--kln-sna.example", false },
		{ "j@fa\xc3\x9f.example", "j@xn--fa-hia.example", false },
		{ "j@\xe4\xbe\x8b\xe3\x80\x82"
		  "example",
		  "j@xn--fsq.example", false },
		{ "j\xc3\xbcrgen@b.example", "j\xc3\xbcrgen@b.example", true },
		{ "\xe6\x97\xa5.\xe6\x9c\xac@k\xc3\xb6ln.example",
		  "\xe6\x97\xa5.\xe6\x9c\xac@xn--kln-sna.example", true },
	};
	MjMessage message = plain;

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		MjMailbox mailbox;

		if (!mj_mime_parse_mailbox("to", cases[i].address, &mailbox, &problem))
			strlcpy(mailbox.address, problem.message, sizeof(mailbox.address));
		tap_is(mailbox.address, cases[i].wanted, "international address");
		tap_ok(mailbox.utf8 == cases[i].utf8, "whether it needs SMTPUTF8");
	}
	message.from = "J <j\xc3\xbcrgen@b.example>";
	tap_is(header(&message, "From"), " J <j\xc3\xbcrgen@b.example>",
		   "it is written as UTF-8");
}

static bool
check_long(int local, int label, int labels, int name)
{
	StringInfoData address;
	bool ok;

	initStringInfo(&address);
	for (int i = 0; i < name; i++)
		appendStringInfoChar(&address, 'n');
	appendStringInfoChar(&address, '<');
	for (int i = 0; i < local; i++)
		appendStringInfoChar(&address, 'l');
	appendStringInfoChar(&address, '@');
	for (int i = 0; i < labels; i++)
	{
		for (int j = 0; j < label; j++)
			appendStringInfoChar(&address, 'd');
		appendStringInfoString(&address, i < labels - 1 ? "." : ">");
	}
	ok = mj_mime_check_address("to", address.data, &problem);
	pfree(address.data);
	return ok;
}

static void
test_limits(void)
{
	MjMessage message = plain;
	const char **many = palloc(1001 * sizeof(char *));
	char subject[MJ_MIME_MAX_HEADER + 2];

	tap_ok(check_long(64, 63, 1, 320), "limits: 64 @ 63, name of 320");
	tap_ok(!check_long(65, 63, 1, 0), "limits: 65 before the @");
	tap_ok(!check_long(1, 64, 1, 0), "limits: label of 64");
	tap_ok(check_long(62, 63, 3, 0), "limits: address of 254");
	tap_ok(!check_long(63, 63, 3, 0), "limits: address of 255");
	tap_ok(!check_long(1, 1, 1, 321), "limits: name of 321");
	tap_ok(!check_long(1, 1, 1, 100000), "limits: name of 100,000");
	for (int i = 0; i < 1001; i++)
		many[i] = "a@b";
	message.to.items = many;
	message.to.nitems = 1000;
	tap_ok(mj_mime_check_message(&message, &problem),
		   "limits: 1000 recipients");
	message.cc = (MjAddressList) ONE("x@y");
	tap_ok(!mj_mime_check_message(&message, &problem), "limits: 1001");
	tap_is(problem.message, "too many recipients in \"cc\"",
		   "limits: names the field");
	pfree(many);

	message = plain;
	memset(subject, 's', sizeof(subject) - 1);
	subject[sizeof(subject) - 1] = '\0';
	message.subject = subject;
	tap_is(render(&message), "\"subject\" is too long", "limits: subject");
	message.subject = subject + 1;
	tap_ok(strncmp(header(&message, "Subject"), " =?UTF-8?Q?", 11) == 0,
		   "limits: a word of 8192 bytes is encoded");
}

static const char *
check_header(const char *name, const char *value)
{
	memset(&problem, 0, sizeof(problem));
	return mj_mime_check_header(name, value, &problem) ? "(accepted)" :
														 problem.message;
}

static void
test_headers(void)
{
	static const MjHeader headers[] = {
		{ "X-Tag", "a" }, { "List-Unsubscribe", "<https://b.example/u?x=1>" }
	};
	MjMessage message = plain;

	message.headers = headers;
	message.nheaders = 2;
	tap_is(header(&message, "X-Tag"), " a", "header: extra");
	tap_is(header(&message, "List-Unsubscribe"), " <https://b.example/u?x=1>",
		   "header: verbatim");
	tap_is(
		check_header("X-Tag", "a\r\nBcc: x@y"),
		"line breaks and control characters are not allowed in header \"X-Tag\"",
		"header: line break in value");
	tap_is(check_header("X-Tag", "a\x80"), "invalid UTF-8 in header \"X-Tag\"",
		   "header: bad UTF-8");
	tap_is(check_header("X Tag", "a"), "invalid header name in \"headers\"",
		   "header: blank");
	tap_is(check_header("X:Tag", "a"), "invalid header name in \"headers\"",
		   "header: colon");
	tap_is(check_header("X\nTag", "a"), "invalid header name in \"headers\"",
		   "header: LF");
	tap_is(check_header("X\xc3\xbc", "a"), "invalid header name in \"headers\"",
		   "header: not ASCII");
	tap_is(check_header("", "a"), "empty header name in \"headers\"",
		   "header: no name");
	tap_is(check_header("bcc", "a"), "header \"bcc\" cannot be set",
		   "header: bcc");
	tap_is(check_header("CONTENT-TYPE", "a"),
		   "header \"CONTENT-TYPE\" cannot be set", "header: content");
}

static void
test_header_values(void)
{
	static const MjHeader twice[] = { { "X-Tag", "a" }, { "x-tag", "b" } };
	static const MjHeader unsubscribe[] = { { "list-unsubscribe", "<x>" } };
	MjMessage message = plain;
	MjHeader many[MJ_MIME_MAX_HEADERS + 1];
	char names[MJ_MIME_MAX_HEADERS + 1][8];
	char name[66];

	tap_is(check_header("X-Tag", "<a> b <c@d>"), "(accepted)",
		   "header: balanced");
	tap_is(check_header("X-Tag", "<a"),
		   "unbalanced \"<\" and \">\" in header \"X-Tag\"", "header: <");
	tap_is(check_header("X-Tag", "a>"),
		   "unbalanced \"<\" and \">\" in header \"X-Tag\"", "header: >");
	tap_is(check_header("X-Tag", "<<a>>"),
		   "unbalanced \"<\" and \">\" in header \"X-Tag\"", "header: <<");
	tap_is(check_header("Dkim-Signature", "a"),
		   "header \"Dkim-Signature\" cannot be set", "header: signature");
	memset(name, 'n', 65);
	name[65] = '\0';
	tap_is(check_header(name, "a"), "header name in \"headers\" is too long",
		   "header: name of 65");
	message.headers = twice;
	message.nheaders = 2;
	tap_is(render(&message), "header \"x-tag\" is there twice",
		   "header: twice");
	message.headers = unsubscribe;
	message.nheaders = 1;
	message.unsubscribe = "https://b.example/";
	tap_is(render(&message),
		   "header \"list-unsubscribe\" is made of \"unsubscribe\"",
		   "header: beside unsubscribe");
	for (int i = 0; i <= MJ_MIME_MAX_HEADERS; i++)
	{
		snprintf(names[i], sizeof(names[i]), "X-%d", i);
		many[i].name = names[i];
		many[i].value = "a";
	}
	message = plain;
	message.headers = many;
	message.nheaders = MJ_MIME_MAX_HEADERS;
	tap_ok(mj_mime_check_message(&message, &problem), "header: 100");
	message.nheaders++;
	tap_is(render(&message), "too many \"headers\"", "header: 101");
}

static void
test_unsubscribe(void)
{
	static const struct
	{
		const char *urls;
		const char *wanted; /* the header, or the problem */
		const char *post;
	} cases[] = {
		{ "https://b.example/u?x=1&y=%20", " <https://b.example/u?x=1&y=%20>",
		  " List-Unsubscribe=One-Click" },
		{ "mailto:u@b.example?subject=x", " <mailto:u@b.example?subject=x>",
		  "(none)" },
		{ " mailto:u@b.example\t HTTPS://b.example ",
		  " <mailto:u@b.example>, <HTTPS://b.example>",
		  " List-Unsubscribe=One-Click" },
		{ "", "\"unsubscribe\" must not be empty", NULL },
		{ "http://b.example/",
		  "\"unsubscribe\" is not an https: or mailto: URL", NULL },
		{ "https:// ", "\"unsubscribe\" is not an https: or mailto: URL",
		  NULL },
		{ "<https://b.example/>",
		  "\"unsubscribe\" is not an https: or mailto: URL", NULL },
		{ "https://b.example/>x", "character not allowed in \"unsubscribe\"",
		  NULL },
		{ "https://b.example/\xc3\xbc",
		  "character not allowed in \"unsubscribe\"", NULL },
		{ "https://b.example/\r\nBcc: x@y",
		  "line breaks are not allowed in \"unsubscribe\"", NULL },
		{ "https://b.example/1 https://b.example/2",
		  "too many URLs in \"unsubscribe\"", NULL },
	};
	MjMessage message = plain;

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		message.unsubscribe = cases[i].urls;
		if (cases[i].post == NULL)
		{
			tap_is(render(&message), cases[i].wanted, "unsubscribe: refused");
			continue;
		}
		tap_is(header(&message, "List-Unsubscribe"), cases[i].wanted,
			   "unsubscribe: URLs");
		tap_is(header(&message, "List-Unsubscribe-Post"), cases[i].post,
			   "unsubscribe: by a click");
	}
	tap_is(header(&plain, "List-Unsubscribe"), "(none)",
		   "unsubscribe: only where asked for");
}

/* A message with this attachment: the problem, or what follows "needle". */
static const char *
attach(const char *filename, const char *type, const char *id,
	   const char *needle)
{
	static const MjMessage *base = &plain;
	MjMessage message = *base;
	MjAttachment attachment = { filename, type, id, "x\0y", 3 };
	const char *text;
	const char *found;

	message.attachments = &attachment;
	message.nattachments = 1;
	text = render(&message);
	found = strstr(text, needle);
	return found ? found + strlen(needle) : text;
}

static void
test_attachment_fields(void)
{
	static const struct
	{
		const char *filename;
		const char *type;
		const char *id;
		const char *wanted;
	} cases[] = {
		{ "", NULL, NULL, "\"attachments[1].filename\" must not be empty" },
		{ NULL, NULL, NULL, "\"attachments[1].filename\" must not be empty" },
		{ "a/b", NULL, NULL, "\"attachments[1].filename\" is not a filename" },
		{ "C:\\b", NULL, NULL,
		  "\"attachments[1].filename\" is not a filename" },
		{ "..", NULL, NULL, "\"attachments[1].filename\" is not a filename" },
		{ "a\r\nb", NULL, NULL,
		  "line breaks and control characters are not allowed in \"attachments[1].filename\"" },
		{ "a\xff", NULL, NULL, "invalid UTF-8 in \"attachments[1].filename\"" },
		{ "a", "pdf", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "a/b\r\nX: y", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "a/b; c", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "a/b; c=\"d", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "/b", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "a/b/c", NULL,
		  "\"attachments[1].content_type\" is not a content type" },
		{ "a", "multipart/mixed", NULL,
		  "\"attachments[1].content_type\" is not possible for an attachment" },
		{ "a", "Message/rfc822", NULL,
		  "\"attachments[1].content_type\" is not possible for an attachment" },
		{ "a", NULL, "", "\"attachments[1].content_id\" is not a content ID" },
		{ "a", NULL, "<x>",
		  "\"attachments[1].content_id\" is not a content ID" },
		{ "a", NULL, "x@",
		  "\"attachments[1].content_id\" is not a content ID" },
		{ "a", NULL, "x y",
		  "\"attachments[1].content_id\" is not a content ID" },
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tap_is(attach(cases[i].filename, cases[i].type, cases[i].id, "\n--=_"),
			   cases[i].wanted, "attachment: refused");
	tap_is(attach("a", "text/plain; charset=\"x y\"; d=e.f", NULL, "eAB5\r\n"),
		   "--=_194059b325bb4827m--\r\n", "attachment: type with parameters");
}

static void
test_attachment_bytes(void)
{
	tap_is(attach("a \"b\".PDF", NULL, NULL, "Hello\r\n\r\n"),
		   "--=_194059b325bb4827m\r\n"
		   "Content-Type: application/pdf\r\n"
		   "Content-Transfer-Encoding: base64\r\n"
		   "Content-Disposition: attachment; filename=\"a \\\"b\\\".PDF\"\r\n"
		   "\r\n"
		   "eAB5\r\n"
		   "--=_194059b325bb4827m--\r\n",
		   "attachment: byte for byte");
	tap_is(attach("\xc3\xbc 1.txt", NULL, NULL, "Disposition: "),
		   "attachment; filename*=UTF-8''%C3%BC%201.txt\r\n"
		   "\r\n"
		   "eAB5\r\n"
		   "--=_194059b325bb4827m--\r\n",
		   "attachment: a name that is not ASCII");
	tap_is(
		attach("\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc"
			   "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc.txt",
			   NULL, NULL, "Disposition: "),
		"attachment;\r\n"
		" filename*0*=UTF-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC;\r\n"
		" filename*1*=%C3%BC%C3%BC%C3%BC.txt\r\n"
		"\r\n"
		"eAB5\r\n"
		"--=_194059b325bb4827m--\r\n",
		"attachment: a long one");
}

/* The content types of a message, in their order. */
static const char *
structure(const MjMessage *message)
{
	static char types[1024];
	const char *at = render(message);

	types[0] = '\0';
	while ((at = strstr(at, "Content-Type: ")) != NULL)
	{
		at += strlen("Content-Type: ");
		strncat(types, at, strcspn(at, ";\r"));
		strlcat(types, " ", sizeof(types));
	}
	return types;
}

static void
test_nesting(void)
{
	static const MjAttachment both[] = { { "a.pdf", NULL, NULL, "pdf", 3 },
										 { "b.png", NULL, "logo", "png", 3 } };
	static const MjAttachment same[] = { { "a.png", NULL, "logo", "", 0 },
										 { "b.png", NULL, "logo", "", 0 } };
	MjMessage message = plain;

	message.attachments = both;
	message.nattachments = 2;
	message.html = "<img src=\"cid:logo\">";
	tap_is(
		structure(&message),
		"multipart/mixed multipart/related multipart/alternative text/plain text/html image/png application/pdf ",
		"nesting: all of it");
	message.text = NULL;
	tap_is(
		structure(&message),
		"multipart/mixed multipart/related text/html image/png application/pdf ",
		"nesting: html, image, file");
	message.attachments = both + 1;
	message.nattachments = 1;
	tap_is(structure(&message), "multipart/related text/html image/png ",
		   "nesting: html and image");
	message = plain;
	message.attachments = both + 1;
	message.nattachments = 1;
	tap_is(structure(&message), "multipart/mixed text/plain image/png ",
		   "nesting: an image that no html shows is a file");
	message.attachments = same;
	message.nattachments = 2;
	tap_is(render(&message),
		   "\"attachments[2].content_id\" is that of another attachment",
		   "nesting: a content ID that is there twice");
	message.nattachments = MJ_MIME_MAX_ATTACHMENTS + 1;
	tap_is(render(&message), "too many \"attachments\"",
		   "nesting: too many attachments");
}

static void
test_messages(void)
{
	static const char *const bad_ids[] = {
		"",		   "x",		  "<x>",		   "<@x>",
		"<x@>",	   "<a b@c>", "<a@b>\r\nX: y", "a@b",
		"<a@b@c>", "<<a@b>",  "<\xc3\xbc@b>"
	};
	MjMessage message = plain;

	for (size_t i = 0; i < lengthof(bad_ids); i++)
	{
		message.message_id = bad_ids[i];
		tap_is(render(&message), "invalid Message-ID", "bad Message-ID");
	}
	message.message_id = NULL;
	tap_is(render(&message), "a message needs a Message-ID", "no Message-ID");
	tap_ok(mj_mime_check_message(&message, &problem),
		   "no Message-ID is good enough for a check");
	message = plain;
	message.text = NULL;
	tap_is(render(&message), "a message needs \"body_text\" or \"body_html\"",
		   "no body");
	message.text = "\xf0\x28\x8c\x28";
	tap_is(render(&message), "invalid UTF-8 in \"body_text\"",
		   "bad UTF-8 in body");
	message = plain;
	message.to.nitems = 0;
	tap_is(render(&message), "a message needs a recipient", "no recipient");
	message = plain;
	message.from = "a@b, c@d";
	tap_is(render(&message),
		   "invalid address in \"sender\": only one address is possible here",
		   "two senders");
	message.from = NULL;
	tap_is(render(&message), "a message needs \"sender\"", "no sender");
	message = plain;
	message.subject = "a\nb";
	tap_is(render(&message),
		   "line breaks and control characters are not allowed in \"subject\"",
		   "line break in subject");
}

int
main(void)
{
	initStringInfo(&rendered);
	test_bytes();
	test_out();
	test_encodings();
	test_dates();
	test_subject();
	test_long_subject();
	test_names();
	test_lists();
	test_bad_addresses();
	test_international();
	test_limits();
	test_headers();
	test_header_values();
	test_unsubscribe();
	test_attachment_fields();
	test_attachment_bytes();
	test_nesting();
	test_messages();
	pfree(rendered.data);
	return tap_done();
}
