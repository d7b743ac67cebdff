/*-------------------------------------------------------------------------
 *
 * mime_fuzz.c
 *	  Fuzz target: whatever a message is made of, what is rendered is 7-bit
 *	  (UTF-8, where an address is), has CRLF line ends only, no line over 998
 *	  bytes, only the headers that were asked for, no more bytes than were
 *	  foreseen, and the same bytes every time.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mime.h"

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

#define NFIELDS 12
#define CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
			abort(); \
	} while (0)

/* Names of the headers that may occur, before those of the body */
static const char *const known[] = { "Date",
									 "From",
									 "Reply-To",
									 "To",
									 "Cc",
									 "Subject",
									 "Message-ID",
									 "X-Fuzz",
									 "List-Unsubscribe",
									 "List-Unsubscribe-Post",
									 "MIME-Version",
									 "Content-Type",
									 "Content-Transfer-Encoding" };

static void
check_header_line(const char *line)
{
	if (*line == ' ')
		return;
	for (size_t i = 0; i < lengthof(known); i++)
	{
		size_t n = strlen(known[i]);

		if (strncmp(line, known[i], n) == 0 && line[n] == ':')
			return;
	}
	abort();
}

/* The headers of a part; its content is base64, without a blank line. */
static void
check_part_headers(const char *s)
{
	static const char *const names[] = {
		"Content-Type: ", "Content-Transfer-Encoding: ", "Content-ID: ",
		"Content-Disposition: "
	};
	const char *end = strstr(s, "\r\n\r\n");

	while (s < end)
	{
		bool found = *s == ' ';

		for (size_t i = 0; i < lengthof(names); i++)
			found |= strncmp(s, names[i], strlen(names[i])) == 0;
		CHECK(found);
		s = strstr(s, "\r\n") + 2;
	}
}

/* The parts of a multipart/mixed message, if it is one */
static void
check_parts(const char *s)
{
	static const char mixed[] =
		"\r\nContent-Type: multipart/mixed;\r\n boundary=\"";
	char boundary[64] = "--";
	const char *at = strstr(s, mixed);

	if (at == NULL || at > strstr(s, "\r\n\r\n"))
		return;
	at += strlen(mixed);
	strncat(boundary, at, strcspn(at, "\""));
	strlcat(boundary, "\r\n", sizeof(boundary));
	while ((at = strstr(at, boundary)) != NULL)
	{
		at += strlen(boundary);
		check_part_headers(at);
	}
}

static void
check_message(const char *s, size_t length, bool utf8)
{
	bool in_header = true;
	size_t at = 0;

	CHECK(length >= 2 && memcmp(s + length - 2, "\r\n", 2) == 0);
	while (at < length)
	{
		size_t n = strcspn(s + at, "\r\n");

		CHECK(n <= 998 && s[at + n] == '\r' && s[at + n + 1] == '\n');
		for (size_t i = 0; i < n; i++)
			CHECK(utf8 || (unsigned char) s[at + i] < 0x80);
		in_header &= n > 0;
		if (in_header)
			check_header_line(s + at);
		at += n + 2;
	}
	check_parts(s);
}

/* Has the message, as far as it shows, an address that is not ASCII? */
static bool
is_utf8(const MjMessage *message)
{
	const char *lists[] = { message->from, message->reply_to,
							message->to.items[0] };

	for (size_t i = 0; i < lengthof(lists); i++)
	{
		const char *cursor = lists[i];
		MjMailbox mailbox;
		MjProblem problem;

		while (cursor &&
			   mj_mime_next_mailbox("x", &cursor, &mailbox, &problem) > 0)
		{
			if (mailbox.utf8)
				return true;
		}
	}
	return false;
}

/* A mailbox that was accepted can be written down and read again. */
static void
check_mailboxes(const char *list)
{
	const char *cursor = list;
	MjMailbox mailbox;
	MjMailbox again;
	MjProblem problem;
	char quoted[2 * MJ_MIME_MAX_NAME + MJ_MIME_MAX_ADDRESS + 8];

	while (mj_mime_next_mailbox("fuzz", &cursor, &mailbox, &problem) > 0)
	{
		size_t n = 0;

		quoted[n++] = '"';
		for (const char *p = mailbox.name; *p; p++)
		{
			if (*p == '"' || *p == '\\')
				quoted[n++] = '\\';
			quoted[n++] = *p;
		}
		snprintf(quoted + n, sizeof(quoted) - n, "\" <%s>", mailbox.address);
		if (strlen(quoted) > 1000)
			continue;
		CHECK(mj_mime_parse_mailbox("fuzz", quoted, &again, &problem));
		CHECK(strcmp(again.name, mailbox.name) == 0);
		CHECK(strcmp(again.address, mailbox.address) == 0);
	}
}

static void
render_twice(const MjMessage *message)
{
	StringInfoData first;
	StringInfoData second;
	MjProblem problem;

	initStringInfo(&first);
	initStringInfo(&second);
	if (mj_mime_render(message, &first, &problem))
	{
		check_message(first.data, first.len, is_utf8(message));
		CHECK((size_t) first.len <= mj_mime_size_bound(message));
		CHECK(mj_mime_render(message, &second, &problem));
		CHECK(first.len == second.len &&
			  memcmp(first.data, second.data, first.len) == 0);
	}
	else
		CHECK(first.len == 0 && problem.message[0] != '\0');
	pfree(first.data);
	pfree(second.data);
}

/*
 * Fields are separated by zero bytes: from, reply_to, to, subject, text, html,
 * header, unsubscribe, and of an attachment filename, content type, content id
 * and content.  Empty ones get a value that is good, so that the others are tried.
 */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const char *const good[NFIELDS] = {
		"\"A, B\" <a@b>", NULL, "c@d", NULL,	 "text", NULL, "", NULL,
		"file",			  NULL, NULL,  "content"
	};
	const char *fields[NFIELDS];
	char *copy = palloc(size + 1);
	char *at = copy;
	MjHeader header = { "X-Fuzz", NULL };
	MjAttachment attachment;
	MjMessage message;

	memcpy(copy, data, size);
	copy[size] = '\0';
	for (int i = 0; i < NFIELDS; i++)
	{
		fields[i] = *at ? at : good[i];
		at += strlen(at);
		if (at < copy + size)
			at++;
	}
	memset(&message, 0, sizeof(message));
	message.from = fields[0];
	message.reply_to = fields[1];
	message.to.items = &fields[2];
	message.to.nitems = 1;
	message.subject = fields[3];
	message.text = fields[4];
	message.html = fields[5];
	header.value = fields[6];
	message.headers = &header;
	message.nheaders = 1;
	message.message_id = "<1@b>";
	message.unsubscribe = fields[7];
	attachment.filename = fields[8];
	attachment.content_type = fields[9];
	attachment.content_id = fields[10];
	attachment.content = fields[11];
	attachment.length = strlen(fields[11]);
	message.attachments = &attachment;
	message.nattachments = fields[8] != good[8] || fields[10] != good[10];
	check_mailboxes(fields[2]);
	render_twice(&message);
	pfree(copy);
	return 0;
}
