/*-------------------------------------------------------------------------
 *
 * mime_text.c
 *	  The characters of a message: what may stand where, and base64.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mb/pg_wchar.h"
#include "mime_part.h"

static const char hex_digits[] = "0123456789ABCDEF";

/*
 * Fill the problem and return false.  Detail and hint may be NULL.
 */
bool
mj_mime_refuse(MjProblem *problem, const char *detail, const char *hint,
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
 * Length of the UTF-8 character at s, at most left bytes, or -1 if invalid
 */
int
mj_mime_utf8_length(const char *s, size_t left)
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

/* Is all of s below 128? */
bool
mj_mime_is_ascii(const char *s)
{
	for (; *s; s++)
	{
		if ((unsigned char) *s >= 0x80)
			return false;
	}
	return true;
}

/*
 * Refuse what no header may contain: line ends and other controls, invalid
 * UTF-8.  "what" names the thing: address in "to", header "X-Tag".
 */
bool
mj_mime_check_characters(const char *what, const char *value, size_t length,
						 MjProblem *problem)
{
	char detail[128];
	size_t at = 0;

	while (at < length)
	{
		int n = mj_mime_utf8_length(value + at, length - at);

		if (n <= 0)
		{
			snprintf(detail, sizeof(detail),
					 "The byte at position %zu begins no UTF-8 character.",
					 at + 1);
			return mj_mime_refuse(problem, detail, NULL, "invalid UTF-8 in %s",
								  what);
		}
		if (is_control(value + at, n))
		{
			snprintf(detail, sizeof(detail), "At byte %zu there is %s.", at + 1,
					 value[at] == '\r' || value[at] == '\n' ?
						 "a line break" :
						 "a control character");
			return mj_mime_refuse(
				problem, detail, NULL,
				"line breaks and control characters are not allowed in %s",
				what);
		}
		at += n;
	}
	return true;
}

/*
 * Check the value of an unstructured header.
 */
bool
mj_mime_check_value(const char *what, const char *value, MjProblem *problem)
{
	size_t length = strlen(value);
	char detail[64];

	if (length > MJ_MIME_MAX_HEADER)
	{
		snprintf(detail, sizeof(detail), "It has %zu bytes; %d are possible.",
				 length, MJ_MIME_MAX_HEADER);
		return mj_mime_refuse(problem, detail, NULL, "%s is too long", what);
	}
	return mj_mime_check_characters(what, value, length, problem);
}

/*
 * Check a body: UTF-8; line breaks and controls are encoded, so they may stay.
 */
bool
mj_mime_check_text(const char *field, const char *body, MjProblem *problem)
{
	size_t length = strlen(body);
	char detail[64];
	int valid;

	if (length > MJ_MIME_MAX_BODY)
		return mj_mime_refuse(problem, "A message's bodies can have 64 MB.",
							  NULL, "\"%s\" is too long", field);
	valid = pg_encoding_verifymbstr(PG_UTF8, body, (int) length);
	if (valid < (int) length)
	{
		snprintf(detail, sizeof(detail),
				 "The byte at position %d begins no UTF-8 character.",
				 valid + 1);
		return mj_mime_refuse(problem, detail, NULL, "invalid UTF-8 in \"%s\"",
							  field);
	}
	return true;
}

/*
 * Append c as two hexadecimal digits after a mark: "=C3", "%C3"
 */
void
mj_mime_put_hex(StringInfo out, char mark, unsigned char c)
{
	char code[3] = { mark, hex_digits[c >> 4], hex_digits[c & 15] };

	appendBinaryStringInfo(out, code, 3);
}

/*
 * Write the base64 form of up to 3 bytes to "to".
 */
static void
encode_group(char *to, const unsigned char *s, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32 bits = (uint32) s[0] << 16;

	if (n > 1)
		bits |= (uint32) s[1] << 8;
	if (n > 2)
		bits |= s[2];
	to[0] = digits[bits >> 18];
	to[1] = digits[(bits >> 12) & 63];
	to[2] = n > 1 ? digits[(bits >> 6) & 63] : '=';
	to[3] = n > 2 ? digits[bits & 63] : '=';
}

/*
 * Append base64, in lines of line_length, or in one if that is 0.
 */
void
mj_mime_put_base64(StringInfo out, const char *s, size_t length,
				   int line_length)
{
	size_t size = (length + 2) / 3 * 4;
	int column = 0;
	char *to;

	if (line_length > 0)
		size += size / line_length * 2;
	enlargeStringInfo(out, (int) size);
	to = out->data + out->len;
	for (size_t i = 0; i < length; i += 3)
	{
		if (line_length > 0 && column == line_length)
		{
			*to++ = '\r';
			*to++ = '\n';
			column = 0;
		}
		encode_group(to, (const unsigned char *) s + i, Min(length - i, 3));
		to += 4;
		column += 4;
	}
	out->len = (int) (to - out->data);
	*to = '\0';
}
