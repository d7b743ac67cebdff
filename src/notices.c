/*-------------------------------------------------------------------------
 *
 * notices.c
 *	  The messages that a command raises below ERROR: the last ones are kept.
 *
 * A background worker has no client, so the server makes no messages for one.
 * While a command is listened to, it has: one that swallows what it is sent.
 * A message is taken on its way there, by an error context callback, which
 * stands at the end of the chain and so sees it complete, in the encoding of
 * the database.  client_min_messages decides what is sent, as for any client.
 *
 * What is kept is bounded, however many messages there are.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

/*
 * The protocol's headers include those of libraries that the server may have
 * been built with and that need not be here.  Of what depends on them nothing
 * is used.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "libpq/libpq.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "notices.h"

/* Of the bytes that are granted, those for "(N earlier messages left out)". */
#define LEFT_OUT_ROOM 64

/* What the client's end of the protocol is told before COPY with it. */
#define COPY_IN_RESPONSE 'G'
#define COPY_OUT_RESPONSE 'H'

/* A message, as psql prints it, without the last line's end. */
typedef struct Notice
{
	dlist_node node;
	Size length;
	char text[FLEXIBLE_ARRAY_MEMBER];
} Notice;

/* The messages kept.  The oldest come first. */
static dlist_head kept = DLIST_STATIC_INIT(kept);
static Size kept_size; /* of their texts, each with its line's end */
static Size max_size;
static uint64 left_out; /* older ones that were dropped */
static MemoryContext kept_context = NULL;
static MemoryContext scratch_context = NULL; /* reset for every message */

/* While listening: what was there before. */
static bool listening = false;
static const PQcommMethods *former_methods;
static CommandDest former_destination;
static ProtocolVersion former_protocol;

/* The command's client_encoding, while a message is sent in another; or -1. */
static int former_encoding = -1;

static void take_message(void *arg);
static ErrorContextCallback callback;

/* ------------------------------------------------------------------------
 * The client that swallows
 * ------------------------------------------------------------------------
 */

/*
 * Have the message that is about to be sent not converted: characters that
 * the command's client_encoding has not would make it an error.
 */
static void
enter_server_encoding(void)
{
	int encoding = pg_get_client_encoding();

	if (encoding == GetDatabaseEncoding())
		return;
	former_encoding = encoding;
	SetClientEncoding(GetDatabaseEncoding());
}

static void
leave_server_encoding(void)
{
	if (former_encoding < 0)
		return;
	SetClientEncoding(former_encoding);
	former_encoding = -1;
}

static void
swallow_nothing(void)
{
}

static int
swallow_flush(void)
{
	return 0;
}

static bool
nothing_is_pending(void)
{
	return false;
}

/*
 * Something is sent to the client.  It is a message, which was taken already,
 * or nobody's business; but data would be waited for in vain.
 */
static int
swallow(char type, const char *body, size_t length)
{
	leave_server_encoding();
	if (type == COPY_IN_RESPONSE || type == COPY_OUT_RESPONSE)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("COPY with the client is not possible in a job"),
			 errhint(
				 "A job has no client; copy from or to a file or program of the server.")));
	return 0;
}

static void
swallow_noblock(char type, const char *body, size_t length)
{
	(void) swallow(type, body, length);
}

static const PQcommMethods swallowing = {
	.comm_reset = swallow_nothing,
	.flush = swallow_flush,
	.flush_if_writable = swallow_flush,
	.is_send_pending = nothing_is_pending,
	.putmessage = swallow,
	.putmessage_noblock = swallow_noblock,
};

/* ------------------------------------------------------------------------
 * Keeping messages
 * ------------------------------------------------------------------------
 */

static void
drop_oldest(void)
{
	Notice *notice = dlist_container(Notice, node, dlist_pop_head_node(&kept));

	kept_size -= notice->length + 1;
	left_out++;
	pfree(notice);
}

/* Keep a message, cut if need be, and as many of the older as there is room. */
static void
keep(const StringInfo text)
{
	Size length = text->len;
	Notice *notice;

	if (length > max_size)
		length = pg_mbcliplen(text->data, text->len, (int) max_size);
	notice = MemoryContextAlloc(kept_context, offsetof(Notice, text) + length);
	notice->length = length;
	memcpy(notice->text, text->data, length);
	dlist_push_tail(&kept, &notice->node);
	kept_size += length + 1;
	while (kept_size > max_size + 1)
		drop_oldest();
}

/* What psql calls a level. */
static const char *
word_of_level(int elevel)
{
	if (elevel >= WARNING)
		return "WARNING";
	if (elevel == NOTICE)
		return "NOTICE";
	if (elevel == INFO)
		return "INFO";
	return elevel >= LOG ? "LOG" : "DEBUG";
}

/* Append a part of a message; not much more of it than can be kept. */
static void
append_part(StringInfo text, const char *label, const char *part)
{
	if (part == NULL)
		return;
	appendStringInfo(text, "%s%s:  ", text->len > 0 ? "\n" : "", label);
	appendBinaryStringInfo(text, part, (int) strnlen(part, max_size));
}

/* Keep a message that goes to the client. */
static void
note_message(const ErrorData *message)
{
	StringInfoData text;

	initStringInfo(&text);
	append_part(&text, word_of_level(message->elevel),
				message->message ? message->message : "");
	append_part(&text, "DETAIL", message->detail);
	append_part(&text, "HINT", message->hint);
	keep(&text);
}

/*
 * Error context callback: a message is complete, and will be sent next, if it
 * is one for the client.  An error is not sent, but raised.  For want of
 * memory, and in critical sections, nothing may be allocated.
 */
static void
take_message(void *arg)
{
	MemoryContext old;
	ErrorData *message;

	leave_server_encoding();
	if (CritSectionCount > 0 || geterrcode() == ERRCODE_OUT_OF_MEMORY)
		return;
	old = MemoryContextSwitchTo(scratch_context);
	message = CopyErrorData();
	if (message->elevel < ERROR && message->output_to_client)
	{
		note_message(message);
		enter_server_encoding();
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch_context);
}

/* ------------------------------------------------------------------------
 * What others call
 * ------------------------------------------------------------------------
 */

/* The memory that messages are kept in, and that each is made in. */
static void
make_contexts(void)
{
	if (kept_context != NULL)
		return;
	scratch_context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs notice",
							  ALLOCSET_SMALL_SIZES);
	kept_context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs notices",
							  ALLOCSET_SMALL_SIZES);
}

/*
 * From now on, keep the last messages that a client would see, at most
 * max_length (>= 1024) bytes of them.  For a background worker; to be ended by
 * mj_notices_end() in the same transaction or not, also after an error.
 */
void
mj_notices_begin(Size max_length)
{
	Assert(!listening);
	make_contexts();
	mj_notices_forget();
	max_size = max_length - LEFT_OUT_ROOM;
	former_methods = PqCommMethods;
	former_destination = whereToSendOutput;
	former_protocol = FrontendProtocol;
	PqCommMethods = &swallowing;
	whereToSendOutput = DestRemote;
	FrontendProtocol = PG_PROTOCOL_LATEST;
	callback.callback = take_message;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	listening = true;
}

/*
 * Listen no more, and have everything as it was.  Harmless when not listening;
 * raises nothing.  The messages stay until they are forgotten.
 */
void
mj_notices_end(void)
{
	if (!listening)
		return;
	listening = false;
	leave_server_encoding();
	error_context_stack = callback.previous;
	FrontendProtocol = former_protocol;
	whereToSendOutput = former_destination;
	PqCommMethods = former_methods;
}

/*
 * The messages kept, one after the other, after a line that says how many
 * there were before them; NULL when there were none.  In the current context.
 */
char *
mj_notices_text(void)
{
	StringInfoData text;
	dlist_iter iter;

	if (kept_context == NULL || dlist_is_empty(&kept))
		return NULL;
	initStringInfo(&text);
	if (left_out > 0)
		appendStringInfo(&text, "(" UINT64_FORMAT " earlier messages left out)",
						 left_out);
	dlist_foreach (iter, &kept)
	{
		Notice *notice = dlist_container(Notice, node, iter.cur);

		if (text.len > 0)
			appendStringInfoChar(&text, '\n');
		appendBinaryStringInfo(&text, notice->text, (int) notice->length);
	}
	return text.data;
}

/* Forget the messages: they were another command's. */
void
mj_notices_forget(void)
{
	if (kept_context == NULL)
		return;
	MemoryContextReset(kept_context);
	dlist_init(&kept);
	kept_size = 0;
	left_out = 0;
}
