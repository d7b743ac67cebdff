/*-------------------------------------------------------------------------
 *
 * mustache_fuzz.c
 *	  Fuzz target: whatever a template, its partials and the data are, a
 *	  rendering ends, within its limits, with the same result every time; and
 *	  where no tag asks for it, no markup of the data gets into HTML.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mustache_json.h"

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

#define MAX_OUTPUT 20000
#define MAX_STEPS 20000
#define NPARTIALS 3
#define CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
			abort(); \
	} while (0)

static MjMustache *partials[NPARTIALS];

/* Partials are p, q and r; others are not there. */
static const MjMustache *
find_partial(void *arg, const char *name, int length)
{
	if (length != 1 || *name < 'p' || *name >= 'p' + NPARTIALS)
		return NULL;
	return partials[*name - 'p'];
}

static MjMustache *
parse_checked(const char *text)
{
	MjProblem problem;
	MjMustache *template;

	memset(&problem, 0, sizeof(problem));
	template = mj_mustache_parse(text, strlen(text), &problem);
	CHECK((template == NULL) == (problem.message[0] != '\0'));
	return template;
}

static bool
render_checked(const MjMustache *template, const MjRendering *rendering,
			   StringInfo out)
{
	MjProblem problem;
	bool done;

	initStringInfo(out);
	memset(&problem, 0, sizeof(problem));
	done = mj_mustache_render(template, rendering, out, &problem);
	CHECK(done == (problem.message[0] == '\0'));
	CHECK(done ? out->len <= MAX_OUTPUT : out->len == 0);
	return done;
}

static void
render_twice(const MjMustache *template, const Json *json, bool is_tame)
{
	MjRendering rendering = { &json_source };
	StringInfoData first;
	StringInfoData second;

	rendering.data = json->value;
	rendering.partial = find_partial;
	rendering.max_output = MAX_OUTPUT;
	rendering.max_steps = MAX_STEPS;
	for (int escape = 0; escape < 2; escape++)
	{
		rendering.escape = escape;
		CHECK(render_checked(template, &rendering, &first) ==
			  render_checked(template, &rendering, &second));
		CHECK(first.len == second.len &&
			  memcmp(first.data, second.data, first.len) == 0);
		if (escape && is_tame)
			CHECK(memchr(first.data, '<', first.len) == NULL);
		pfree(first.data);
		pfree(second.data);
	}
}

/* Take out what could write markup. */
static void
tame(char *template)
{
	int braces = 0; /* that the tag at hand begins with */

	for (char *at = template; *at; at++)
	{
		if (strchr("<&=", *at) || (*at == '{' && braces >= 2))
			*at = '-';
		if (*at == '{')
			braces++;
		else if (braces < 2 || !strchr(" \t\n\v\f\r", *at))
			braces = 0;
	}
}

/*
 * Zero bytes separate the template, its partials, and data in JSON.  A
 * template of a first byte below 0x80 is made tame: no markup, and no tag that
 * writes without escaping.
 */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	char *copy = palloc(size + 2);
	char *at = copy;
	bool is_tame = size > 0 && data[0] < 0x80;
	const char *fields[2 + NPARTIALS];
	MjMustache *template;

	memcpy(copy, data, size);
	copy[size] = copy[size + 1] = '\0';
	for (int i = 0; i < 2 + NPARTIALS; i++)
	{
		fields[i] = at;
		if (is_tame && i <= NPARTIALS)
			tame(at);
		at += strlen(at);
		if (at < copy + size)
			at++;
	}
	for (int i = 0; i < NPARTIALS; i++)
		partials[i] = parse_checked(fields[i + 1]);
	template = parse_checked(fields[0]);
	if (template)
	{
		int cursor = 0;
		const char *name;
		int length;

		while (mj_mustache_next_partial(template, &cursor, &name, &length))
			CHECK(length > 0);
		render_twice(template, json_read(fields[1 + NPARTIALS]), is_tame);
		mj_mustache_free(template);
	}
	for (int i = 0; i < NPARTIALS; i++)
		if (partials[i])
			mj_mustache_free(partials[i]);
	json_reset();
	pfree(copy);
	return 0;
}
