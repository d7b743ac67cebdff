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
static bool dot_sent;

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
	dot_sent |= dialogue.state == MJ_DLG_DOT;
}

static void
check_result(void)
{
	const MjSmtpResult *result = &dialogue.result;

	check_printable(result->reply.text, sizeof(result->reply.text));
	check_printable(result->reply.enhanced, sizeof(result->reply.enhanced));
	check_printable(result->message, sizeof(result->message));
	check_printable(dialogue.extensions.list, sizeof(dialogue.extensions.list));
	CHECK(dialogue.out_at <= dialogue.out_length);
	if (!dialogue.decided || dialogue.nmessages == 0)
		return;
	CHECK(result->outcome != MJ_SMTP_ACCEPTED || dot_sent);
	CHECK(result->outcome != MJ_SMTP_LOST || dialogue.state == MJ_DLG_CLOSED);
}

/*
 * The first byte is the size of the pieces; bit 7 also says whether our side
 * sends all at once or piecemeal.
 */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const char *const rcpt[] = { "a@b", "c@d" };
	static const MjEnvelope envelope = { .from = "e@f",
										 .recipients = rcpt,
										 .nrecipients = 2,
										 .content = "S: x\r\n\r\n.\r\n",
										 .length = 11 };
	size_t step;
	size_t ours;

	if (size == 0)
		return 0;
	step = (data[0] & 0x7f) + 1;
	ours = (data[0] & 0x80) ? 3 : 100000;
	data++;
	size--;
	dot_sent = false;
	mj_dialogue_init(&dialogue);
	mj_dialogue_hello(&dialogue, "me");
	while (size > 0 && dialogue.state != MJ_DLG_CLOSED)
	{
		size_t n = Min(step, size);

		listen(ours);
		mj_dialogue_received(&dialogue, (const char *) data, n);
		check_result();
		data += n;
		size -= n;
		if (dialogue.state == MJ_DLG_READY && dialogue.nmessages < 3)
		{
			dot_sent = false;
			mj_dialogue_message(&dialogue, &envelope);
		}
	}
	mj_dialogue_broken(&dialogue, MJ_SMTP_ERR_LOST, "end");
	CHECK(!mj_dialogue_busy(&dialogue) && !mj_dialogue_usable(&dialogue));
	check_result();
	return 0;
}
