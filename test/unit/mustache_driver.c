/*-------------------------------------------------------------------------
 *
 * mustache_driver.c
 *	  Renders templates for a program that compares: reads a JSON list of
 *	  {template, data, partials} from a file and writes a line for each, a
 *	  JSON string behind "ok " or "error ".
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mustache_json.h"

static char *
read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	StringInfoData text;
	char chunk[65536];
	size_t n;

	if (file == NULL)
	{
		perror(path);
		exit(2);
	}
	initStringInfo(&text);
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		appendBinaryStringInfo(&text, chunk, (int) n);
	fclose(file);
	return text.data;
}

static void
print_string(const char *word, const char *text, int length)
{
	printf("%s \"", word);
	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	printf("\"\n");
}

static MjMustache *
parse_member(const Json *of, const char *key, int length, MjProblem *problem)
{
	const Json *text = json_get(of, key, length);

	return text ?
		mj_mustache_parse(text->value.text, text->value.length, problem) :
		NULL;
}

/* What is wrong with the last partial that is no template */
static MjProblem broken;

static const MjMustache *
find_partial(void *arg, const char *name, int length)
{
	return arg ? parse_member(arg, name, length, &broken) : NULL;
}

static void
run_case(const Json *test)
{
	MjRendering rendering = { &json_source };
	StringInfoData out;
	MjProblem problem;
	MjMustache *template = parse_member(test, "template", 8, &problem);

	initStringInfo(&out);
	rendering.escape = true;
	rendering.data = json_get(test, "data", 4)->value;
	rendering.partial = find_partial;
	rendering.arg = (void *) json_get(test, "partials", 8);
	broken.message[0] = '\0';
	if (template && mj_mustache_render(template, &rendering, &out, &problem) &&
		broken.message[0] == '\0')
		print_string("ok", out.data, out.len);
	else
	{
		const char *why = broken.message[0] ? broken.message : problem.message;

		print_string("error", why, (int) strlen(why));
	}
}

int
main(int argc, char **argv)
{
	const Json *tests = json_read(read_file(argv[argc - 1]));

	for (int i = 0; i < tests->value.count; i++)
		run_case(tests->index[i]);
	return 0;
}
