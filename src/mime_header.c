/*-------------------------------------------------------------------------
 *
 * mime_header.c
 *	  Header fields, folded and encoded (RFC 5322, 2047, 2231).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mime_part.h"

#define FOLD_COLUMN 78	/* headers are folded here where possible */
#define ENCODED_LINE 76 /* with encoded-words, RFC 2047 */
#define ENCODED_WORD 75
#define ENCODED_FRAME 12	   /* "=?UTF-8?Q?" and "?=" */
#define MAX_UNENCODED_WORD 800 /* a longer one could overfill a line */
#define MAX_QUOTED_NAME 60	   /* a longer one is encoded, to be folded */
#define PARAMETER_LINE 60	   /* of a value by RFC 2231 */

/* ------------------------------------------------------------------------
 * Folding
 * ------------------------------------------------------------------------
 */

static void
fold_put(MjFold *fold, const char *s, size_t length)
{
	appendBinaryStringInfo(fold->out, s, (int) length);
	fold->column += (int) length;
}

/* End the line: the header, if the next one does not begin with a blank. */
void
mj_fold_break(MjFold *fold)
{
	appendBinaryStringInfo(fold->out, "\r\n", 2);
	fold->column = 0;
}

/* Begin a header with its name and the colon. */
void
mj_fold_begin(MjFold *fold, StringInfo out, const char *name)
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
void
mj_fold_text(MjFold *fold, const char *text, bool first)
{
	while (*text)
	{
		size_t blanks = strspn(text, " ");
		size_t length = blanks + strcspn(text + blanks, " ");

		if (fold->column + length > FOLD_COLUMN && !first)
			mj_fold_break(fold);
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
	return mj_is_alnum(c) || (c != '\0' && strchr("!*+-/", c));
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
			mj_mime_put_hex(out, '=', c);
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
		int length = mj_mime_utf8_length(s + n, left - n);

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
fold_word(MjFold *fold, bool use_q, const char *s, size_t n)
{
	StringInfo out = fold->out;
	int start = out->len;

	appendStringInfoString(out, use_q ? " =?UTF-8?Q?" : " =?UTF-8?B?");
	if (use_q)
		put_q(out, s, n);
	else
		mj_mime_put_base64(out, s, n, 0);
	appendStringInfoString(out, "?=");
	fold->column += out->len - start;
}

/*
 * Append s as encoded words, each after a blank.  Readers drop the white space
 * between two of them, so that s comes back as it was.
 */
static void
fold_encoded(MjFold *fold, const char *s)
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
			mj_fold_break(fold);
			n = fitting(s, use_q, ENCODED_WORD - ENCODED_FRAME);
		}
		fold_word(fold, use_q, s, n);
		s += n;
	}
}

/*
 * Must this value be encoded?  Besides what is not ASCII: what a reader would
 * take for an encoded word, white space that folding would lose, and words
 * that would overfill a line.
 */
static bool
needs_encoding(const char *value)
{
	size_t length = strlen(value);

	if (!mj_mime_is_ascii(value) || strstr(value, "=?") != NULL)
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

/*
 * Append a header of unstructured text, which has been checked.
 */
void
mj_mime_put_header(StringInfo out, const char *name, const char *value)
{
	MjFold fold;

	mj_fold_begin(&fold, out, name);
	if (needs_encoding(value))
		fold_encoded(&fold, value);
	else if (value[0] != '\0')
	{
		fold_put(&fold, " ", 1);
		mj_fold_text(&fold, value, true);
	}
	mj_fold_break(&fold);
}

/* ------------------------------------------------------------------------
 * Addresses
 * ------------------------------------------------------------------------
 */

/*
 * Is this name a phrase of atoms, which needs no quotes?
 */
static bool
is_phrase(const char *name)
{
	for (const char *p = name; *p; p++)
	{
		if (!mj_is_atext(*p) && !(*p == ' ' && p[1] != ' '))
			return false;
	}
	return true;
}

/*
 * Append a display name, after a blank, in the plainest form that it permits.
 */
static void
fold_name(MjFold *fold, const char *name, bool first)
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
	mj_fold_text(fold, text, first);
}

static void
fold_mailbox(MjFold *fold, const MjMailbox *mailbox, bool first)
{
	char text[MJ_MIME_MAX_ADDRESS + 4];
	bool named = mailbox->name[0] != '\0';

	if (named)
		fold_name(fold, mailbox->name, first);
	snprintf(text, sizeof(text), named ? " <%s>" : " %s", mailbox->address);
	mj_fold_text(fold, text, first && !named);
}

/*
 * Append the mailboxes of one item of a list.  False only if the item was not
 * checked before.
 */
static bool
fold_item(MjFold *fold, const char *name, const char *item, bool *first,
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

/*
 * Append a header of addresses; none if there are none.  False only if an item
 * was not checked before.
 */
bool
mj_mime_put_addresses(StringInfo out, const char *name,
					  const char *const *items, int nitems, MjProblem *problem)
{
	MjFold fold;
	bool first = true;

	if (nitems == 0)
		return true;
	mj_fold_begin(&fold, out, name);
	for (int i = 0; i < nitems; i++)
	{
		if (!fold_item(&fold, name, items[i], &first, problem))
			return false;
	}
	mj_fold_break(&fold);
	return true;
}

/* ------------------------------------------------------------------------
 * Parameters (RFC 2045, 2231)
 * ------------------------------------------------------------------------
 */

/* Append ";" and a parameter, on a line of its own if need be. */
static void
fold_parameter_text(MjFold *fold, const char *text, size_t length)
{
	fold_put(fold, ";", 1);
	if (fold->column + length > FOLD_COLUMN)
		mj_fold_break(fold);
	fold_put(fold, text, length);
}

/* Append a parameter whose value is printable ASCII. */
static void
fold_quoted_parameter(MjFold *fold, const char *name, const char *value)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, " %s=\"", name);
	for (const char *p = value; *p; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(&text, '\\');
		appendStringInfoChar(&text, *p);
	}
	appendStringInfoChar(&text, '"');
	fold_parameter_text(fold, text.data, text.len);
	pfree(text.data);
}

/*
 * Append characters of value, percent-encoded where they must be, as long as
 * they fit into room; returns what is left of value.
 */
static const char *
put_extended(StringInfo out, const char *value, int room)
{
	int start = out->len;

	while (*value)
	{
		int n = mj_mime_utf8_length(value, strlen(value));
		bool plain =
			*value == '.' || (mj_is_atext(*value) && !strchr("*'%/?=", *value));

		n = Max(n, 1);
		if (out->len - start + (plain ? 1 : 3 * n) > room)
			break;
		if (plain)
			appendStringInfoChar(out, *value);
		for (int i = 0; i < n && !plain; i++)
			mj_mime_put_hex(out, '%', (unsigned char) value[i]);
		value += n;
	}
	return value;
}

/* Append a parameter in UTF-8, in as many pieces as it takes. */
static void
fold_extended_parameter(MjFold *fold, const char *name, const char *value)
{
	StringInfoData whole;
	StringInfoData text;
	const char *left;

	initStringInfo(&whole);
	initStringInfo(&text);
	left = put_extended(&whole, value, PARAMETER_LINE);
	if (*left == '\0')
	{
		appendStringInfo(&text, " %s*=UTF-8''%s", name, whole.data);
		fold_parameter_text(fold, text.data, text.len);
	}
	for (int piece = 0; *left && *value; piece++)
	{
		resetStringInfo(&text);
		appendStringInfo(&text, " %s*%d*=%s", name, piece,
						 piece == 0 ? "UTF-8''" : "");
		value = put_extended(&text, value, PARAMETER_LINE - 8);
		fold_parameter_text(fold, text.data, text.len);
	}
	pfree(text.data);
	pfree(whole.data);
}

/*
 * Append a parameter, with ";" before it: quoted, or by RFC 2231 if it is not
 * ASCII or would be taken for an encoded word.
 */
void
mj_fold_parameter(MjFold *fold, const char *name, const char *value)
{
	if (mj_mime_is_ascii(value) && strstr(value, "=?") == NULL)
		fold_quoted_parameter(fold, name, value);
	else
		fold_extended_parameter(fold, name, value);
}
