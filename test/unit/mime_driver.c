/*-------------------------------------------------------------------------
 *
 * mime_driver.c
 *	  Renders the messages that it reads, for tests with foreign parsers.
 *
 * Input: fields as "NAME LENGTH\n" and LENGTH bytes, a message ended by
 * "end 0\n".  "header" fields have the form "Name: value".  A field
 * "attachment" is the name of a new one, "content" and others are of the last.
 * With "dkim_key" (PEM) the message is signed as "dkim_domain" and selector
 * "test" want it.  Output, for each message: "ok LENGTH\n" or "refused
 * LENGTH\n", and the bytes or the problem.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <stdio.h>
#include <stdlib.h>

#include "dkim.h"
#include "mime.h"

#define MAX_ITEMS 2000

typedef struct Input
{
	MjMessage message;
	const char *to[MAX_ITEMS];
	const char *cc[MAX_ITEMS];
	const char *bcc[MAX_ITEMS];
	MjHeader headers[MAX_ITEMS];
	MjAttachment attachments[MAX_ITEMS];
	MjDkimKey *key;
	const char *domain;
	int nallocated;
	char *allocated[8 * MAX_ITEMS];
} Input;

static void
add_item(MjAddressList *list, const char **items, const char *value)
{
	items[list->nitems++] = value;
	list->items = items;
}

static void
add_header(Input *input, char *value)
{
	char *colon = strstr(value, ": ");
	MjHeader *header = &input->headers[input->message.nheaders++];

	*colon = '\0';
	header->name = value;
	header->value = colon + 2;
	input->message.headers = input->headers;
}

/* A field of an attachment; the first one begins it */
static bool
set_attachment(Input *input, const char *name, char *value, size_t length)
{
	MjMessage *message = &input->message;
	MjAttachment *last = &input->attachments[Max(message->nattachments, 1) - 1];

	if (strcmp(name, "attachment") == 0)
	{
		last = &input->attachments[message->nattachments++];
		message->attachments = input->attachments;
		last->filename = value;
		last->content = "";
	}
	else if (strcmp(name, "content_type") == 0)
		last->content_type = value;
	else if (strcmp(name, "content_id") == 0)
		last->content_id = value;
	else if (strcmp(name, "content") == 0)
	{
		last->content = value;
		last->length = length;
	}
	else
		return false;
	return true;
}

static void
set_field(Input *input, const char *name, char *value, size_t length)
{
	MjMessage *message = &input->message;
	MjProblem problem;

	if (set_attachment(input, name, value, length))
		return;
	if (strcmp(name, "from") == 0)
		message->from = value;
	else if (strcmp(name, "reply_to") == 0)
		message->reply_to = value;
	else if (strcmp(name, "to") == 0)
		add_item(&message->to, input->to, value);
	else if (strcmp(name, "cc") == 0)
		add_item(&message->cc, input->cc, value);
	else if (strcmp(name, "bcc") == 0)
		add_item(&message->bcc, input->bcc, value);
	else if (strcmp(name, "subject") == 0)
		message->subject = value;
	else if (strcmp(name, "text") == 0)
		message->text = value;
	else if (strcmp(name, "html") == 0)
		message->html = value;
	else if (strcmp(name, "message_id") == 0)
		message->message_id = value;
	else if (strcmp(name, "date") == 0)
		message->date = strtoll(value, NULL, 10);
	else if (strcmp(name, "header") == 0)
		add_header(input, value);
	else if (strcmp(name, "unsubscribe") == 0)
		message->unsubscribe = value;
	else if (strcmp(name, "dkim_key") == 0)
		input->key = mj_dkim_load_key(value, length, &problem);
	else if (strcmp(name, "dkim_domain") == 0)
		input->domain = value;
	else
		abort();
}

static void
sign(const Input *input, StringInfo out)
{
	MjDkimSigner signer = { .key = input->key,
							.domain = input->domain,
							.selector = "test",
							.time = input->message.date };

	if ((size_t) out->len > mj_mime_size_bound(&input->message))
		abort();
	if (input->key != NULL && !mj_dkim_sign(&signer, out))
		abort();
}

static void
render(Input *input)
{
	StringInfoData out;
	MjProblem problem;

	initStringInfo(&out);
	if (mj_mime_render(&input->message, &out, &problem))
	{
		sign(input, &out);
		printf("ok %d\n", out.len);
	}
	else
	{
		appendStringInfoString(&out, problem.message);
		printf("refused %d\n", out.len);
	}
	fwrite(out.data, 1, out.len, stdout);
	fflush(stdout);
	pfree(out.data);
	for (int i = 0; i < input->nallocated; i++)
		free(input->allocated[i]);
	mj_dkim_free_key(input->key);
	memset(input, 0, sizeof(*input));
}

int
main(void)
{
	static Input input;
	char name[32];
	size_t length;

	while (scanf("%31s %zu", name, &length) == 2 && getchar() == '\n')
	{
		char *value = calloc(1, length + 1);

		if (fread(value, 1, length, stdin) != length)
			abort();
		input.allocated[input.nallocated++] = value;
		if (strcmp(name, "end") == 0)
			render(&input);
		else
			set_field(&input, name, value, length);
	}
	return 0;
}
