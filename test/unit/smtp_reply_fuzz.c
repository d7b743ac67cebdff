/*-------------------------------------------------------------------------
 *
 * smtp_reply_fuzz.c
 *	  Fuzz target: whatever a server says, in whatever pieces, the dialogue
 *	  ends within its bounds, with an outcome that fits what was sent.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "smtp_dialogue.h"

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static MjDialogue dialogue;
static bool dot_sent[4]; /* of each message */
static int handed;		 /* messages */
static int known;		 /* of them, what became of */

#define CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
			abort(); \
	} while (0)

static void
check_printable(const char *text, size_t size)
{
	CHECK(strnlen(text, size) < size);
	for (; *text; text++)
		CHECK(*text >= 0x20 && *text < 0x7f);
}

/* Take what is to be sent, as a network would that is in no hurry. */
static void
listen(size_t step)
{
	const char *bytes;
	size_t length = mj_dialogue_output(&dialogue, &bytes);

	if (length == 0)
		return;
	mj_dialogue_sent(&dialogue, Min(length, step));
	for (int i = 0; i < dialogue.nexchanges; i++)
		if (dialogue.exchanges[i].said == MJ_DLG_DOT &&
			dialogue.sent >= dialogue.exchanges[i].dot_end)
			dot_sent[dialogue.exchanges[i].number - 1] = true;
}

static void
check_result(const MjSmtpResult *result)
{
	check_printable(result->reply.text, sizeof(result->reply.text));
	check_printable(result->reply.enhanced, sizeof(result->reply.enhanced));
	check_printable(result->message, sizeof(result->message));
}

/* What became of messages fits what was sent of them, and is in their order. */
static void
check_ends(void)
{
	MjSmtpResult result;
	void *tag;

	check_result(&dialogue.result);
	check_printable(dialogue.extensions.list, sizeof(dialogue.extensions.list));
	CHECK(dialogue.out_at <= dialogue.out_length);
	while (mj_dialogue_take(&dialogue, &tag, &result))
	{
		int number = (int) (intptr_t) tag;

		check_result(&result);
		CHECK(number == known++);
		CHECK(result.outcome != MJ_SMTP_ACCEPTED || dot_sent[number]);
		CHECK(result.outcome != MJ_SMTP_LOST ||
			  mj_dialogue_state(&dialogue) == MJ_DLG_CLOSED);
		CHECK(!result.stale || !dot_sent[number]);
	}
}

/*
 * The first byte is the size of the pieces; bit 7 also says whether our side
 * sends all at once or piecemeal.
 */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const char *const rcpt[] = { "a@b", "c@d" };
	static const MjEnvelope envelopes[] = {
		{ "e@f", rcpt, 1, "S: x\r\n\r\n.\r\n", 11 },
		{ "e@f", rcpt, 2, "S: x\r\n\r\n.\r\n", 11 }
	};
	size_t step;
	size_t ours;

	if (size == 0)
		return 0;
	step = (data[0] & 0x7f) + 1;
	ours = (data[0] & 0x80) ? 3 : 100000;
	data++;
	size--;
	memset(dot_sent, 0, sizeof(dot_sent));
	handed = known = 0;
	mj_dialogue_init(&dialogue);
	mj_dialogue_hello(&dialogue, "me");
	while (size > 0 && mj_dialogue_state(&dialogue) != MJ_DLG_CLOSED)
	{
		size_t n = Min(step, size);

		if (handed < (int) lengthof(dot_sent) && mj_dialogue_wants(&dialogue))
		{
			mj_dialogue_message(&dialogue, &envelopes[handed % 2],
								(void *) (intptr_t) handed);
			handed++;
		}
		listen(ours);
		mj_dialogue_received(&dialogue, (const char *) data, n);
		check_ends();
		data += n;
		size -= n;
	}
	mj_dialogue_broken(&dialogue, MJ_SMTP_ERR_LOST, "end");
	CHECK(!mj_dialogue_busy(&dialogue) && !mj_dialogue_usable(&dialogue));
	check_ends();
	CHECK(known == handed);
	return 0;
}
