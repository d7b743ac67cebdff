/*-------------------------------------------------------------------------
 *
 * mime_attachment.c
 *	  Attachments: what may be one, and how it is written.
 *
 * The content is any bytes; they arrive as they are, for they are always
 * written as base64.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mime_part.h"

#define MAX_TYPE 200 /* bytes of a content type with its parameters */
#define MAX_CONTENT_ID 200
#define MAX_FIELD 64 /* bytes of "attachments[100].content_type" */

#define DEFAULT_TYPE "application/octet-stream"

/* What an extension says of the content */
static const struct
{
	const char *extension;
	const char *type;
} known_types[] = {
	{ "pdf", "application/pdf" },
	{ "txt", "text/plain" },
	{ "csv", "text/csv" },
	{ "html", "text/html" },
	{ "htm", "text/html" },
	{ "md", "text/markdown" },
	{ "ics", "text/calendar" },
	{ "vcf", "text/vcard" },
	{ "xml", "application/xml" },
	{ "json", "application/json" },
	{ "png", "image/png" },
	{ "jpg", "image/jpeg" },
	{ "jpeg", "image/jpeg" },
	{ "gif", "image/gif" },
	{ "webp", "image/webp" },
	{ "svg", "image/svg+xml" },
	{ "zip", "application/zip" },
	{ "gz", "application/gzip" },
	{ "doc", "application/msword" },
	{ "xls", "application/vnd.ms-excel" },
	{ "docx",
	  "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
	{ "xlsx",
	  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
	{ "pptx",
	  "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
	{ "odt", "application/vnd.oasis.opendocument.text" },
	{ "ods", "application/vnd.oasis.opendocument.spreadsheet" },
	{ "mp3", "audio/mpeg" },
	{ "mp4", "video/mp4" }
};

/* ------------------------------------------------------------------------
 * Checks
 * ------------------------------------------------------------------------
 */

/*
 * Check a filename: a name without a path, for readers write files of it.
 */
static bool
check_filename(const char *field, const char *name, MjProblem *problem)
{
	char what[MAX_FIELD + 8];

	snprintf(what, sizeof(what), "\"%s\"", field);
	if (name == NULL || name[0] == '\0')
		return mj_mime_refuse(problem, "Each attachment has a filename.", NULL,
							  "\"%s\" must not be empty", field);
	if (strlen(name) > MJ_MIME_MAX_FILENAME)
		return mj_mime_refuse(problem, "A filename can have 255 bytes.", NULL,
							  "\"%s\" is too long", field);
	if (!mj_mime_check_characters(what, name, strlen(name), problem))
		return false;
	if (strpbrk(name, "/\\") != NULL || strcmp(name, ".") == 0 ||
		strcmp(name, "..") == 0 || name[0] == ' ' ||
		name[strlen(name) - 1] == ' ')
		return mj_mime_refuse(
			problem,
			"It must be the name of a file, without a path, and without blanks at its ends.",
			NULL, "\"%s\" is not a filename", field);
	return true;
}

/* A token of RFC 2045 at *s, which is moved behind it. */
static bool
take_token(const char **s)
{
	const char *start = *s;

	while (mj_is_atext(**s) && !strchr("/?=", **s))
		(*s)++;
	if (**s == '.' && *s > start)
	{
		(*s)++;
		return take_token(s);
	}
	return *s > start;
}

/* The value of a parameter: a token, or a string in double quotes. */
static bool
take_parameter_value(const char **s)
{
	if (**s != '"')
		return take_token(s);
	for ((*s)++; **s != '"'; (*s)++)
	{
		if (!mj_is_printable(**s) || **s == '\\')
			return false;
	}
	(*s)++;
	return true;
}

/* Has this the form type/subtype; name=value ... of RFC 2045? */
static bool
is_content_type(const char *type)
{
	const char *s = type;

	if (!take_token(&s) || *s++ != '/' || !take_token(&s))
		return false;
	while (*s == ';')
	{
		s++;
		s += strspn(s, " ");
		if (!take_token(&s) || *s++ != '=' || !take_parameter_value(&s))
			return false;
	}
	return *s == '\0';
}

/*
 * Check a content type.  Composite ones are not for bytes as they are: RFC
 * 2046 forbids to encode them.
 */
static bool
check_content_type(const char *field, const char *type, MjProblem *problem)
{
	if (type == NULL)
		return true;
	if (strlen(type) > MAX_TYPE)
		return mj_mime_refuse(problem, "A content type can have 200 bytes.",
							  NULL, "\"%s\" is too long", field);
	if (!is_content_type(type))
		return mj_mime_refuse(
			problem, "It has the form type/subtype, as in application/pdf.",
			"Without one it is derived from the filename.",
			"\"%s\" is not a content type", field);
	if (pg_strncasecmp(type, "multipart/", 10) == 0 ||
		pg_strncasecmp(type, "message/", 8) == 0)
		return mj_mime_refuse(
			problem, "Messages in messages are not possible.",
			"Give it the content type application/octet-stream.",
			"\"%s\" is not possible for an attachment", field);
	return true;
}

/* Check what html refers to as cid:... */
static bool
check_content_id(const char *field, const char *id, MjProblem *problem)
{
	size_t length = id ? strlen(id) : 0;
	int nat = 0;
	bool ok = true;

	if (id == NULL)
		return true;
	for (size_t i = 0; i < length; i++)
	{
		nat += id[i] == '@';
		ok &= mj_is_alnum(id[i]) || strchr(".-_+=@", id[i]) != NULL;
	}
	if (ok && length > 0 && length <= MAX_CONTENT_ID && nat <= 1 &&
		id[0] != '@' && id[length - 1] != '@')
		return true;
	return mj_mime_refuse(
		problem,
		"It consists of ASCII letters, digits and \".-_+=\", with one \"@\" at most between them; 200 bytes.",
		"The html shows content_id \"logo\" by src=\"cid:logo\".",
		"\"%s\" is not a content ID", field);
}

/* Check one of them; its fields are named as in SQL, counting from 1. */
static bool
check_attachment(const MjAttachment *attachment, int number, MjProblem *problem)
{
	char filename[MAX_FIELD];
	char type[MAX_FIELD];
	char id[MAX_FIELD];

	snprintf(filename, sizeof(filename), "attachments[%d].filename", number);
	snprintf(type, sizeof(type), "attachments[%d].content_type", number);
	snprintf(id, sizeof(id), "attachments[%d].content_id", number);
	return check_filename(filename, attachment->filename, problem) &&
		check_content_type(type, attachment->content_type, problem) &&
		check_content_id(id, attachment->content_id, problem);
}

/* Has an attachment before this one the same content ID? */
static bool
is_repeated(const MjAttachment *attachments, int at)
{
	const char *id = attachments[at].content_id;

	for (int i = 0; id && i < at; i++)
	{
		if (attachments[i].content_id &&
			strcmp(attachments[i].content_id, id) == 0)
			return true;
	}
	return false;
}

/*
 * Check all attachments of a message.
 */
bool
mj_mime_check_attachments(const MjMessage *message, MjProblem *problem)
{
	if (message->nattachments > MJ_MIME_MAX_ATTACHMENTS)
		return mj_mime_refuse(problem, "A message can have 100 attachments.",
							  NULL, "too many \"attachments\"");
	for (int i = 0; i < message->nattachments; i++)
	{
		if (!check_attachment(&message->attachments[i], i + 1, problem))
			return false;
		if (is_repeated(message->attachments, i))
			return mj_mime_refuse(
				problem, NULL, "Give each attachment another content ID.",
				"\"attachments[%d].content_id\" is that of another attachment",
				i + 1);
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------------
 */

/* The content type that a filename's extension stands for */
static const char *
type_of_filename(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < lengthof(known_types); i++)
	{
		if (pg_strcasecmp(dot + 1, known_types[i].extension) == 0)
			return known_types[i].type;
	}
	return DEFAULT_TYPE;
}

/* Is the content UTF-8? */
static bool
is_utf8(const char *content, size_t length)
{
	for (size_t at = 0; at < length;)
	{
		int n = mj_mime_utf8_length(content + at, length - at);

		if (n <= 0)
			return false;
		at += n;
	}
	return true;
}

/* Content-Type; of text whose type was derived, the charset is, too. */
static void
put_content_type(StringInfo out, const MjAttachment *attachment)
{
	const char *type = attachment->content_type;

	if (type)
	{
		appendStringInfo(out, "Content-Type: %s\r\n", type);
		return;
	}
	type = type_of_filename(attachment->filename);
	appendStringInfo(out, "Content-Type: %s%s\r\n", type,
					 strncmp(type, "text/", 5) == 0 &&
							 is_utf8(attachment->content, attachment->length) ?
						 "; charset=utf-8" :
						 "");
}

/*
 * Append an attachment as a body part: its headers and its content.  It has
 * been checked.
 */
void
mj_mime_put_attachment(StringInfo out, const MjAttachment *attachment)
{
	MjFold fold;

	put_content_type(out, attachment);
	appendStringInfoString(out, "Content-Transfer-Encoding: base64\r\n");
	if (attachment->content_id)
		appendStringInfo(out, "Content-ID: <%s>\r\n", attachment->content_id);
	mj_fold_begin(&fold, out, "Content-Disposition");
	mj_fold_text(&fold, attachment->content_id ? " inline" : " attachment",
				 true);
	mj_fold_parameter(&fold, "filename", attachment->filename);
	mj_fold_break(&fold);
	appendBinaryStringInfo(out, "\r\n", 2);
	mj_mime_put_base64(out, attachment->content, attachment->length,
					   MJ_BODY_LINE);
}
