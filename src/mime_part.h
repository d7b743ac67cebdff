/*-------------------------------------------------------------------------
 *
 * mime_part.h
 *	  What the modules of a message share; nobody else includes it.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MIME_PART_H
#define MJ_MIME_PART_H

#include "mime.h"

#define MJ_BODY_LINE 76 /* of quoted-printable and base64 */
#define MJ_MAX_LINE 998 /* bytes without CRLF, RFC 5322 */

/* A header under construction */
typedef struct MjFold
{
	StringInfo out;
	int column; /* bytes in the current line */
} MjFold;

static inline bool
mj_is_printable(char c)
{
	return c >= 0x20 && c < 0x7f;
}

static inline bool
mj_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z');
}

/* atext of RFC 5322, what atoms are made of; also the tokens of RFC 2045 */
static inline bool
mj_is_atext(char c)
{
	return mj_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* mime_text.c */
extern bool mj_mime_refuse(MjProblem *problem, const char *detail,
						   const char *hint, const char *fmt, ...)
	pg_attribute_printf(4, 5);
extern int mj_mime_utf8_length(const char *s, size_t left);
extern bool mj_mime_is_ascii(const char *s);
extern bool mj_mime_check_characters(const char *what, const char *value,
									 size_t length, MjProblem *problem);
extern bool mj_mime_check_value(const char *what, const char *value,
								MjProblem *problem);
extern bool mj_mime_check_text(const char *field, const char *text,
							   MjProblem *problem);
extern void mj_mime_put_hex(StringInfo out, char mark, unsigned char c);
extern void mj_mime_put_base64(StringInfo out, const char *s, size_t length,
							   int line_length);

/* mime_address.c */
extern bool mj_mime_check_list(const char *field, const char *list, int *count,
							   MjProblem *problem);

/* mime_header.c */
extern void mj_fold_begin(MjFold *fold, StringInfo out, const char *name);
extern void mj_fold_text(MjFold *fold, const char *text, bool first);
extern void mj_fold_parameter(MjFold *fold, const char *name,
							  const char *value);
extern void mj_fold_break(MjFold *fold);
extern void mj_mime_put_header(StringInfo out, const char *name,
							   const char *value);
extern bool mj_mime_put_addresses(StringInfo out, const char *name,
								  const char *const *items, int nitems,
								  MjProblem *problem);

/* mime_attachment.c */
extern bool mj_mime_check_attachments(const MjMessage *message,
									  MjProblem *problem);
extern void mj_mime_put_attachment(StringInfo out,
								   const MjAttachment *attachment);

/* mime_body.c */
extern void mj_mime_put_body(StringInfo out, const MjMessage *message);

#endif /* MJ_MIME_PART_H */
