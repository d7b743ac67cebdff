/*-------------------------------------------------------------------------
 *
 * mime_bench.c
 *	  How long a message takes: text and html, 4 KB together, to be rendered,
 *	  checked alone, and signed.
 *
 * usage: mime_bench [KEY.pem ...]        prints microseconds a message
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <stdio.h>

#include "dkim.h"
#include "mime.h"
#include "portability/instr_time.h"

#define SECONDS 0.5

typedef void (*Step)(const void *arg, StringInfo out);

static void
measure(const char *what, Step step, const void *arg)
{
	StringInfoData out;
	instr_time begin;
	instr_time now;
	double elapsed;
	int n = 0;

	initStringInfo(&out);
	INSTR_TIME_SET_CURRENT(begin);
	do
	{
		for (int i = 0; i < 100; i++, n++)
		{
			resetStringInfo(&out);
			step(arg, &out);
		}
		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, begin);
		elapsed = INSTR_TIME_GET_DOUBLE(now);
	} while (elapsed < SECONDS);
	printf("%-40s %8.1f us, %d bytes\n", what, elapsed / n * 1e6, out.len);
	pfree(out.data);
}

static void
render(const void *arg, StringInfo out)
{
	MjProblem problem;

	if (!mj_mime_render(arg, out, &problem))
		abort();
}

static void
check(const void *arg, StringInfo out)
{
	MjProblem problem;

	if (!mj_mime_check_message(arg, &problem))
		abort();
}

static const MjMessage *signed_message;

static void
sign(const void *arg, StringInfo out)
{
	render(signed_message, out);
	if (!mj_dkim_sign(arg, out))
		abort();
}

static void
measure_key(const char *path)
{
	char pem[8192];
	FILE *file = fopen(path, "r");
	MjDkimSigner signer = { .domain = "example.com",
							.selector = "s",
							.time = 1 };
	MjProblem problem;
	MjDkimKey *key = NULL;

	if (file != NULL)
		key = mj_dkim_load_key(pem, fread(pem, 1, sizeof(pem), file), &problem);
	if (key == NULL)
		abort();
	fclose(file);
	signer.key = key;
	measure(mj_dkim_algorithm(key), sign, &signer);
	mj_dkim_free_key(key);
}

/* count times a paragraph */
static char *
make_body(const char *paragraph, int count)
{
	StringInfoData body;

	initStringInfo(&body);
	for (int i = 0; i < count; i++)
		appendStringInfoString(&body, paragraph);
	return body.data;
}

int
main(int argc, char **argv)
{
	const char *to[] = { "Ada Lovelace <ada@example.com>" };
	MjMessage message = { .from = "Motionify Portal <hello@example.com>",
						  .to = { to, 1 },
						  .subject = "Your invoice for June is ready",
						  .text = make_body("Hello Ada, this is a line of "
											"text as mails have it.\n",
											35),
						  .html = make_body("<p>Hello <b>Ada</b>, this is a "
											"line of a mail.</p>\n",
											40),
						  .message_id = "<1.2.3@example.com>",
						  .date = 1790000000 };

	measure("ASCII: checked", check, &message);
	measure("ASCII: rendered", render, &message);
	signed_message = &message;
	for (int i = 1; i < argc; i++)
		measure_key(argv[i]);
	message.text = make_body("Gr\xc3\xbc\xc3\x9f"
							 "e aus K\xc3\xb6ln, dies ist eine Zeile Text.\n",
							 42);
	message.html = make_body("<p>Gr\xc3\xbc\xc3\x9f"
							 "e aus <b>K\xc3\xb6ln</b>, eine Zeile.</p>\n",
							 44);
	message.subject = "Gr\xc3\xbc\xc3\x9f"
					  "e aus K\xc3\xb6ln";
	measure("German: rendered", render, &message);
	return 0;
}
