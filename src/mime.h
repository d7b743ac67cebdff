/*-------------------------------------------------------------------------
 *
 * mime.h
 *	  A mail message: checked, and rendered to strict bytes.
 *
 * All strings are NUL-terminated UTF-8; a caller in a database with another
 * encoding converts first.  A refused input gives false and a MjProblem that
 * names the field and the part (SQLSTATE 22023 for the SQL surface).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MIME_H
#define MJ_MIME_H

#include "pure.h"

#define MJ_MIME_MAX_ADDRESS 254		/* bytes of an addr-spec, RFC 5321 */
#define MJ_MIME_MAX_NAME 320		/* bytes of a display name */
#define MJ_MIME_MAX_HEADER 8192		/* bytes of a header's value */
#define MJ_MIME_MAX_MESSAGE_ID 250	/* bytes, with the angle brackets */
#define MJ_MIME_MAX_RECIPIENTS 1000 /* to, cc and bcc together */
#define MJ_MIME_MAX_BODY (64 * 1024 * 1024) /* text and html together */
#define MJ_MIME_MAX_HEADERS 100				/* extra ones */
#define MJ_MIME_MAX_ATTACHMENTS 100
#define MJ_MIME_MAX_FILENAME 255 /* bytes */

/* A mailbox taken apart: "Name <a@b>" */
typedef struct MjMailbox
{
	char name[MJ_MIME_MAX_NAME + 1];	   /* unquoted UTF-8, or empty */
	char address[MJ_MIME_MAX_ADDRESS + 1]; /* addr-spec, its domain in ASCII */
	bool utf8; /* the address needs SMTPUTF8: it is not ASCII */
} MjMailbox;

/* A file that goes with the message, or an image that its html shows */
typedef struct MjAttachment
{
	const char *filename;
	const char *content_type; /* NULL: as the filename's extension says */
	const char *content_id;	  /* "logo", for cid:logo in html; NULL: a file */
	const char *content;
	size_t length;
} MjAttachment;

/* An extra header; its value is unstructured text */
typedef struct MjHeader
{
	const char *name;
	const char *value;
} MjHeader;

/* Each entry of a list is a mailbox or a comma-separated list of them. */
typedef struct MjAddressList
{
	const char *const *items;
	int nitems;
} MjAddressList;

typedef struct MjMessage
{
	const char *from;	  /* one mailbox */
	const char *reply_to; /* mailboxes, or NULL */
	MjAddressList to;
	MjAddressList cc;
	MjAddressList bcc;	 /* never in the headers */
	const char *subject; /* NULL: no such header */
	const char *text;	 /* at least one of text and html */
	const char *html;
	const char *message_id;	 /* "<id@domain>" */
	int64 date;				 /* Unix seconds, UTC */
	const MjHeader *headers; /* extra ones, written after ours */
	int nheaders;
	const char *original_to; /* who would have got it, for a header; or NULL */
	const char *unsubscribe; /* URLs separated by blanks, or NULL */
	const MjAttachment *attachments;
	int nattachments;
} MjMessage;

extern bool mj_mime_check_address(const char *field, const char *address,
								  MjProblem *problem);
extern bool mj_mime_check_header(const char *name, const char *value,
								 MjProblem *problem);
extern bool mj_mime_check_message(const MjMessage *message, MjProblem *problem);
extern int mj_mime_next_mailbox(const char *field, const char **cursor,
								MjMailbox *mailbox, MjProblem *problem);
extern bool mj_mime_parse_mailbox(const char *field, const char *value,
								  MjMailbox *mailbox, MjProblem *problem);
extern size_t mj_mime_size_bound(const MjMessage *message);
extern bool mj_mime_render(const MjMessage *message, StringInfo out,
						   MjProblem *problem);

#endif /* MJ_MIME_H */
