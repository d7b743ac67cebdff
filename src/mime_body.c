/*-------------------------------------------------------------------------
 *
 * mime_body.c
 *	  The body of a message: its parts, how they are encoded and nested.
 *
 * multipart/mixed holds multipart/related, which holds multipart/alternative;
 * each only if it has more than one part.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mime_part.h"

typedef enum Encoding
{
	ENCODING_7BIT,
	ENCODING_QP,
	ENCODING_BASE64
} Encoding;

/* A text, ready to be written */
typedef struct Part
{
	const char *type; /* "text/plain" */
	Encoding encoding;
	StringInfoData data; /* encoded */
} Part;

/* A body under construction */
typedef struct Body
{
	StringInfo out;
	const MjMessage *message;
	Part parts[2];
	int nparts;
	int ninline;	   /* attachments that the html shows */
	char boundary[32]; /* occurs in no part; a letter more makes it one */
} Body;

static const char *const encoding_names[] = { "7bit", "quoted-printable",
											  "base64" };

/* ------------------------------------------------------------------------
 * Texts
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

/* A word with this byte in each place */
#define EVERY(byte) (~UINT64CONST(0) / 255 * (byte))

/*
 * Are these 8 bytes plain: printable ASCII, and no "="?  The tests of a word for a
 * byte below, above, or equal to another are those of Anderson's "Bit Twiddling
 * Hacks"; they are exact when none of the bytes is above 127.
 */
static inline bool
are_plain(const char *s)
{
	uint64 word;
	uint64 equal;

	memcpy(&word, s, sizeof(word));
	equal = word ^ EVERY('=');
	return (((word - EVERY(0x20)) | (word + EVERY(1)) | (equal - EVERY(1)) |
			 word) &
			EVERY(0x80)) == 0;
}

/* Count what is not plain text in a line, and, apart from that, its "=". */
static void
count_special(const char *s, size_t length, size_t *special, size_t *equals)
{
	size_t i = 0;

	while (i < length)
	{
		if (length - i >= sizeof(uint64) && are_plain(s + i))
		{
			i += sizeof(uint64);
			continue;
		}
		*equals += s[i] == '=';
		*special += !mj_is_printable(s[i]) && s[i] != '\t' && s[i] != '\r';
		i++;
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
	size_t longest = 0;
	size_t qp;

	for (size_t at = 0; at < length;)
	{
		const char *end = memchr(s + at, '\n', length - at);
		size_t line = end ? (size_t) (end - s) - at : length - at;

		count_special(s + at, line, &special, &equals);
		longest = Max(longest, end ? line - 1 : line);
		at += line + 1;
	}
	if (special == 0 && longest <= MJ_MAX_LINE)
		return ENCODING_7BIT;
	qp = length + 2 * (special + equals);
	qp += qp / MJ_BODY_LINE * 3; /* soft line breaks */
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
		bool literal = (mj_is_printable(s[i]) && c != '=') || c == '\t';
		int width;

		/* white space before a line's end would be dropped on the way */
		if (last && (c == ' ' || c == '\t'))
			literal = false;
		width = literal ? 1 : 3;
		/* one column stays for the soft break's "=" */
		if (column + width > MJ_BODY_LINE - (last ? 0 : 1))
		{
			appendBinaryStringInfo(out, "=\r\n", 3);
			column = 0;
		}
		if (literal)
			appendStringInfoChar(out, s[i]);
		else
			mj_mime_put_hex(out, '=', c);
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
		mj_mime_put_base64(&part->data, text.data, text.len, MJ_BODY_LINE);
	pfree(text.data);
}

/* Append a text, with its headers. */
static void
put_part(StringInfo out, const Part *part)
{
	appendStringInfo(out,
					 "Content-Type: %s; charset=utf-8\r\n"
					 "Content-Transfer-Encoding: %s\r\n\r\n",
					 part->type, encoding_names[part->encoding]);
	appendBinaryStringInfo(out, part->data.data, part->data.len);
}

/* ------------------------------------------------------------------------
 * Nesting
 * ------------------------------------------------------------------------
 */

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
choose_boundary(Body *body)
{
	uint64 hash =
		hash_string(body->message->message_id, UINT64CONST(0xcbf29ce484222325));
	bool found;

	do
	{
		hash = hash_string("+", hash);
		/* "=_" occurs neither in quoted-printable nor in base64 */
		snprintf(body->boundary, sizeof(body->boundary), "=_%08x%08x",
				 (uint32) (hash >> 32), (uint32) hash);
		found = false;
		for (int i = 0; i < body->nparts; i++)
			found |= body->parts[i].encoding == ENCODING_7BIT &&
				strstr(body->parts[i].data.data, body->boundary) != NULL;
	} while (found);
}

/* Append the header of a multipart; level makes its boundary. */
static void
begin_multipart(Body *body, const char *subtype, char level)
{
	appendStringInfo(
		body->out, "Content-Type: multipart/%s;\r\n boundary=\"%s%c\"\r\n\r\n",
		subtype, body->boundary, level);
}

/* Append what stands before a part, at the end of the last one if there is. */
static void
begin_part(Body *body, char level, bool first)
{
	appendStringInfo(body->out, "%s--%s%c\r\n", first ? "" : "\r\n",
					 body->boundary, level);
}

static void
end_multipart(Body *body, char level)
{
	appendStringInfo(body->out, "\r\n--%s%c--", body->boundary, level);
}

/* The texts: plain first, for RFC 2046 wants the best alternative last. */
static void
put_alternative(Body *body)
{
	if (body->nparts == 1)
	{
		put_part(body->out, &body->parts[0]);
		return;
	}
	begin_multipart(body, "alternative", 'a');
	for (int i = 0; i < body->nparts; i++)
	{
		begin_part(body, 'a', i == 0);
		put_part(body->out, &body->parts[i]);
	}
	end_multipart(body, 'a');
}

/* Is this an image of the html, and no file that goes with the message? */
static bool
is_inline(const Body *body, const MjAttachment *attachment)
{
	return attachment->content_id != NULL && body->message->html != NULL;
}

/* Append the attachments that are inline, or those that are not. */
static void
put_attachments(Body *body, bool wanted, char level)
{
	const MjMessage *message = body->message;

	for (int i = 0; i < message->nattachments; i++)
	{
		if (is_inline(body, &message->attachments[i]) != wanted)
			continue;
		begin_part(body, level, false);
		mj_mime_put_attachment(body->out, &message->attachments[i]);
	}
}

/* The texts, with the images that the html shows. */
static void
put_related(Body *body)
{
	if (body->ninline == 0)
	{
		put_alternative(body);
		return;
	}
	begin_multipart(body,
					body->nparts == 2 ?
						"related; type=\"multipart/alternative\"" :
						"related; type=\"text/html\"",
					'r');
	begin_part(body, 'r', true);
	put_alternative(body);
	put_attachments(body, true, 'r');
	end_multipart(body, 'r');
}

/* All of it, with the files that go with the message. */
static void
put_mixed(Body *body)
{
	if (body->ninline == body->message->nattachments)
	{
		put_related(body);
		return;
	}
	begin_multipart(body, "mixed", 'm');
	begin_part(body, 'm', true);
	put_related(body);
	put_attachments(body, false, 'm');
	end_multipart(body, 'm');
}

/*
 * Append the body of a message that has been checked, its headers before it,
 * with a line end as its last bytes.
 */
void
mj_mime_put_body(StringInfo out, const MjMessage *message)
{
	Body body = { .out = out, .message = message };

	if (message->text)
		make_part(&body.parts[body.nparts++], "text/plain", message->text);
	if (message->html)
		make_part(&body.parts[body.nparts++], "text/html", message->html);
	for (int i = 0; i < message->nattachments; i++)
		body.ninline += is_inline(&body, &message->attachments[i]);
	choose_boundary(&body);
	put_mixed(&body);
	if (out->len < 2 || out->data[out->len - 1] != '\n')
		appendBinaryStringInfo(out, "\r\n", 2);
	for (int i = 0; i < body.nparts; i++)
		pfree(body.parts[i].data.data);
}
