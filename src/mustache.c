/*-------------------------------------------------------------------------
 *
 * mustache.c
 *	  Mustache templates: parsed once into a program.
 *
 * Follows the required modules of the public specification: interpolation,
 * sections, inverted sections, partials, comments and delimiters.  Where it
 * says nothing, mustache.js is followed: what is truthy, lines with several
 * tags, `length` and numbers as keys of lists.  Names are stricter: no white
 * space, no empty part; and what is Handlebars, not Mustache, is refused.
 *
 * A program is a list of operations that point into the text.  Every byte of
 * a template is looked at a bounded number of times.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mustache_part.h"

#define MAX_DELIMITER 16 /* bytes */
#define MAX_SHOWN 60	 /* bytes of a name in a message */
#define SHOWN_SIZE (MAX_SHOWN + 4)

typedef struct Parser
{
	MjMustache *result;
	const char *text;
	size_t length;
	MjProblem *problem;
	char open[MAX_DELIMITER + 1]; /* delimiters */
	char close[MAX_DELIMITER + 1];
	/* the line in hand */
	size_t line_at; /* where it begins */
	int line_op;	/* its first operation */
	bool is_fresh;	/* nothing of it was seen */
	int ntags;		/* in it */
	bool has_other; /* more than blanks and tags that write nothing */
	int lead;		/* the partial that is its first tag, or -1 */
	size_t lead_at; /* where that tag begins */
	/* sections that are open */
	int depth;
	int sections[MJ_MUSTACHE_MAX_DEPTH];	  /* their operations */
	size_t section_at[MJ_MUSTACHE_MAX_DEPTH]; /* their tags */
} Parser;

/* A tag, taken apart. */
typedef struct Tag
{
	size_t at;	   /* its opening delimiter */
	char sigil;	   /* what it begins with, or 0 */
	size_t name;   /* its content without white space around it */
	size_t length; /* of that */
	size_t end;	   /* behind its closing delimiter */
} Tag;

/* ------------------------------------------------------------------------
 * Problems
 * ------------------------------------------------------------------------
 */

/* Fill the problem and return false. */
bool
mj_mustache_refuse(MjProblem *problem, const char *detail, const char *hint,
				   const char *fmt, ...)
{
	va_list args;

	memset(problem, 0, sizeof(*problem));
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	strlcpy(problem->detail, detail, sizeof(problem->detail));
	strlcpy(problem->hint, hint, sizeof(problem->hint));
	return false;
}

/*
 * A piece of the template for a message: no control characters, and cut where
 * no character of any server encoding is cut.
 */
static const char *
show(char *shown, const char *text, size_t length)
{
	size_t n = Min(length, MAX_SHOWN);

	while (n < length && n > 0 && (unsigned char) text[n - 1] >= 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
	{
		unsigned char c = (unsigned char) text[i];

		shown[i] = c < 0x20 || c == 0x7f ? ' ' : text[i];
	}
	strlcpy(shown + n, n < length ? "..." : "", SHOWN_SIZE - n);
	return shown;
}

/* Line and column, in characters, of a place in the template; both from 1. */
static void
locate(const Parser *parser, size_t at, int *line, int *column)
{
	*line = 1;
	*column = 1;
	for (size_t i = 0; i < at; i++)
	{
		if (parser->text[i] == '\n')
		{
			(*line)++;
			*column = 1;
		}
		else if (((unsigned char) parser->text[i] & 0xc0) != 0x80)
			(*column)++;
	}
}

/* As that; what it is about stands at a place, which the detail gives. */
static bool refuse_at(Parser *parser, size_t at, const char *hint,
					  const char *fmt, ...) pg_attribute_printf(4, 5);

static bool
refuse_at(Parser *parser, size_t at, const char *hint, const char *fmt, ...)
{
	char message[256];
	char detail[64];
	int line;
	int column;
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	locate(parser, at, &line, &column);
	snprintf(detail, sizeof(detail), "It is at line %d, column %d.", line,
			 column);
	return mj_mustache_refuse(parser->problem, detail, hint, "%s", message);
}

/* ------------------------------------------------------------------------
 * Habits of Handlebars
 * ------------------------------------------------------------------------
 */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Is that the word, by itself or with something behind a space? */
static bool
is_word(const char *name, size_t length, const char *word)
{
	size_t n = strlen(word);

	return length >= n && memcmp(name, word, n) == 0 &&
		(length == n || is_space(name[n]));
}

/* What a block helper is about, as Mustache would name it; "name" if unclear. */
static const char *
helper_subject(const char *name, size_t length, size_t word, char *subject)
{
	size_t n = 0;

	name += word;
	length -= word;
	while (length > 0 && is_space(*name))
		name++, length--;
	while (length > 0 && (*name == '.' || *name == '/'))
		name++, length--;
	if (length > 5 && memcmp(name, "this.", 5) == 0)
		name += 5, length -= 5;
	while (n < length && !is_space(name[n]))
		n++;
	if (n == 0 || *name == '(')
		return "name";
	return show(subject, name, n);
}

/* Put a name in the place of each '@'. */
static const char *
fill_hint(char *hint, size_t size, const char *pattern, const char *name)
{
	size_t n = 0;

	for (; *pattern && n < size - 1; pattern++)
	{
		if (*pattern != '@')
			hint[n++] = *pattern;
		else
			n += strlcpy(hint + n, name, size - n);
		n = Min(n, size - 1);
	}
	hint[n] = '\0';
	return hint;
}

/* Refuse {{#each x}}, {{#if x}} and their like. */
static bool
check_block_helper(Parser *parser, const Tag *tag)
{
	static const struct
	{
		const char *word;
		const char *hint;
	} helpers[] = {
		{ "each",
		  "Write {{#@}} ... {{/@}}: what is between is repeated for each item of a list, which is {{.}} there." },
		{ "if",
		  "Write {{#@}} ... {{/@}}; what is to stand there otherwise goes into {{^@}} ... {{/@}}." },
		{ "unless", "Write {{^@}} ... {{/@}}." },
		{ "with", "Write {{#@}} ... {{/@}}." },
	};
	const char *name = parser->text + tag->name;
	char subject[SHOWN_SIZE];
	char hint[512];

	for (size_t i = 0; i < lengthof(helpers); i++)
	{
		size_t n = strlen(helpers[i].word);

		if (tag->length == n || !is_word(name, tag->length, helpers[i].word))
			continue;
		fill_hint(hint, sizeof(hint), helpers[i].hint,
				  helper_subject(name, tag->length, n, subject));
		return refuse_at(parser, tag->at, hint,
						 "\"%c%s\" is of Handlebars, not of Mustache",
						 tag->sigil, helpers[i].word);
	}
	return true;
}

/* Refuse {{else}}, and {{^}} which means the same. */
static bool
check_else(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	const Op *section;
	char subject[SHOWN_SIZE] = "name";
	char hint[512];

	if (!(tag->sigil == '^' && tag->length == 0) &&
		!(tag->sigil == '\0' &&
		  (is_word(name, tag->length, "else") ||
		   is_word(name, tag->length, "elseif"))))
		return true;
	if (parser->depth > 0)
	{
		section = &parser->result->ops[parser->sections[parser->depth - 1]];
		show(subject, parser->text + section->at, section->length);
	}
	fill_hint(
		hint, sizeof(hint),
		"End the section and begin the inverted one: {{/@}}{{^@}} ... {{/@}}.",
		subject);
	return refuse_at(parser, tag->at, hint,
					 "\"else\" is of Handlebars, not of Mustache");
}

/* Refuse names that only Handlebars has: this, ../name, @index. */
static bool
check_path(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	size_t length = tag->length;
	char shown[SHOWN_SIZE];
	const char *hint = NULL;

	if (length >= 2 &&
		(memcmp(name, "./", 2) == 0 ||
		 (length >= 3 && memcmp(name, "../", 3) == 0) ||
		 (length == 2 && memcmp(name, "..", 2) == 0)))
		hint =
			"Write the name alone: it is looked up in the item at hand, then in what is around it.";
	else if (is_word(name, length, "this"))
		hint = "The item at hand is {{.}}.";
	else if (length > 5 && memcmp(name, "this.", 5) == 0)
		hint = "Write the name without \"this.\".";
	else if (*name == '@')
		hint = "Put the number or the key into the data.";
	else if (*name == '~')
		hint = "Write the tag without \"~\".";
	if (hint == NULL)
		return true;
	return refuse_at(parser, tag->at, hint,
					 "\"%s\" is of Handlebars, not of Mustache",
					 show(shown, name, length));
}

/* ------------------------------------------------------------------------
 * Tags
 * ------------------------------------------------------------------------
 */

/* Where some bytes occur first in [from, to); `to` if they do not. */
size_t
mj_mustache_find(const char *text, size_t from, size_t to, const char *bytes)
{
	size_t n = strlen(bytes);

	while (from + n <= to)
	{
		const char *p = memchr(text + from, *bytes, to - from - n + 1);

		if (p == NULL)
			break;
		if (memcmp(p, bytes, n) == 0)
			return p - text;
		from = p - text + 1;
	}
	return to;
}

/*
 * Take the tag apart that begins at tag->at, up to its closing delimiter;
 * false if there is none.
 */
static bool
scan_tag(Parser *parser, Tag *tag)
{
	const char *text = parser->text;
	size_t from = tag->at + strlen(parser->open);
	size_t to;
	char closer[MAX_DELIMITER + 2];

	while (from < parser->length && is_space(text[from]))
		from++;
	tag->sigil = '\0';
	if (from < parser->length && text[from] != '\0' &&
		strchr("#^/>&{=!", text[from]))
		tag->sigil = text[from++];
	snprintf(closer, sizeof(closer), "%s%s",
			 tag->sigil == '{'	   ? "}" :
				 tag->sigil == '=' ? "=" :
									 "",
			 parser->close);
	to = mj_mustache_find(text, from, parser->length, closer);
	if (to == parser->length)
		return false;
	tag->end = to + strlen(closer);
	while (from < to && is_space(text[from]))
		from++;
	while (from < to && is_space(text[to - 1]))
		to--;
	tag->name = from;
	tag->length = to - from;
	return tag->sigil == '!' || tag->sigil == '=' ||
		mj_mustache_find(text, from, to, parser->open) == to;
}

/* Take a tag apart that begins at a place. */
static bool
take_tag(Parser *parser, size_t at, Tag *tag)
{
	char shown[SHOWN_SIZE];
	char hint[128];

	tag->at = at;
	if (scan_tag(parser, tag))
		return true;
	snprintf(hint, sizeof(hint),
			 "A tag that begins with \"%s\" ends with \"%s\".", parser->open,
			 parser->close);
	return refuse_at(parser, at, hint, "tag is not closed: \"%s\"",
					 show(shown, parser->text + at,
						  mj_mustache_find(parser->text, at, parser->length,
										   "\n") -
							  at));
}

/* Refuse a name with an empty part, but not the name ".". */
static bool
check_parts(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	size_t n = tag->length;
	char shown[SHOWN_SIZE];

	if (n == 1 && *name == '.')
		return true;
	if (*name != '.' && name[n - 1] != '.' &&
		mj_mustache_find(name, 0, n, "..") == n)
		return true;
	return refuse_at(parser, tag->at, "", "a part of the name \"%s\" is empty",
					 show(shown, name, n));
}

/* Refuse a name with white space or braces. */
static bool
check_characters(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	char shown[SHOWN_SIZE];

	for (size_t i = 0; i < tag->length; i++)
	{
		if (is_space(name[i]))
			return refuse_at(
				parser, tag->at,
				"A tag holds one name; what is to be computed or formatted goes into the data as it is to be shown.",
				"there is white space in the name \"%s\"",
				show(shown, name, tag->length));
		if (name[i] == '{' || name[i] == '}')
			return refuse_at(
				parser, tag->at,
				"Two braces show a value escaped, three as it is; a brace next to a tag needs another delimiter: {{=<% %>=}}.",
				"there is a brace in the name \"%s\"",
				show(shown, name, tag->length));
	}
	return true;
}

/* Is the content of a tag a name? */
static bool
check_name(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	char shown[SHOWN_SIZE];

	if (!check_else(parser, tag))
		return false;
	if (tag->length == 0)
		return refuse_at(parser, tag->at, "", "a tag has no name");
	if ((tag->sigil == '#' || tag->sigil == '^') &&
		!check_block_helper(parser, tag))
		return false;
	if (tag->sigil != '/' && tag->sigil != '>' && !check_path(parser, tag))
		return false;
	if (!check_characters(parser, tag))
		return false;
	if (tag->sigil == '\0' && (*name == '<' || *name == '$'))
		return refuse_at(parser, tag->at, "Partials are supported: {{> name}}.",
						 "templates that inherit are not supported: \"%s\"",
						 show(shown, name, tag->length));
	if (tag->sigil == '>' && *name == '*')
		return refuse_at(parser, tag->at, "",
						 "partials are named by the template: \"%s\"",
						 show(shown, name, tag->length));
	return tag->sigil == '>' || check_parts(parser, tag);
}

/* ------------------------------------------------------------------------
 * Operations and lines
 * ------------------------------------------------------------------------
 */

static Op *
add_op(Parser *parser, OpKind kind, size_t at, size_t length)
{
	MjMustache *result = parser->result;
	Op *op;

	if (result->nops == result->size)
	{
		result->size *= 2;
		result->ops = repalloc(result->ops, result->size * sizeof(Op));
	}
	op = &result->ops[result->nops++];
	memset(op, 0, sizeof(Op));
	op->kind = kind;
	op->at = at;
	op->length = length;
	return op;
}

/* Text of one line, or of several from the beginning of the first. */
static void
add_text(Parser *parser, size_t from, size_t to)
{
	if (from == to)
		return;
	add_op(parser, OP_TEXT, from, to - from)->begins = parser->is_fresh;
	parser->is_fresh = false;
}

static void
begin_line(Parser *parser, size_t at)
{
	parser->line_at = at;
	parser->line_op = parser->result->nops;
	parser->is_fresh = true;
	parser->ntags = 0;
	parser->has_other = false;
	parser->lead = -1;
}

static bool
is_blank(const char *text, size_t from, size_t to)
{
	for (; from < to; from++)
		if (!is_space(text[from]))
			return false;
	return true;
}

/*
 * The line in hand has nothing but tags that stand alone: what is around them
 * goes, and it is the indentation of a partial.
 */
static void
strip_line(Parser *parser)
{
	MjMustache *result = parser->result;

	for (int i = parser->line_op; i < result->nops; i++)
		if (result->ops[i].kind == OP_TEXT)
		{
			result->ops[i].begins = false;
			result->ops[i].length = 0;
		}
	if (parser->lead >= 0)
	{
		result->ops[parser->lead].begins = true;
		result->ops[parser->lead].link = parser->line_at;
		result->ops[parser->lead].indented = parser->lead_at - parser->line_at;
	}
}

/*
 * Text behind a tag, up to the end of its line.  Returns where the next line
 * begins, or `to` if the line goes on with a tag.
 */
static size_t
end_tag_line(Parser *parser, size_t from, size_t to)
{
	size_t newline = mj_mustache_find(parser->text, from, to, "\n");
	size_t next = Min(newline + 1, to);
	bool ends = newline < to || to == parser->length;

	if (!is_blank(parser->text, from, next))
		parser->has_other = true;
	if (ends && !parser->has_other)
		strip_line(parser);
	else
		add_text(parser, from, next);
	if (newline < to)
		begin_line(parser, next);
	return next;
}

/* Text in [from, to), up to a tag or the end of the template. */
static void
take_text(Parser *parser, size_t from, size_t to)
{
	size_t last = to;

	if (parser->ntags > 0)
		from = end_tag_line(parser, from, to);
	while (last > from && parser->text[last - 1] != '\n')
		last--;
	if (last > from)
	{
		add_text(parser, from, last);
		begin_line(parser, last);
	}
	if (!is_blank(parser->text, last, to))
		parser->has_other = true;
	add_text(parser, last, to);
}

/*
 * A tag follows.  A line that begins with it gets an empty text, to be
 * indented.
 */
static void
enter_tag(Parser *parser)
{
	if (parser->is_fresh)
		add_op(parser, OP_TEXT, parser->line_at, 0)->begins = true;
	parser->is_fresh = false;
	parser->ntags++;
}

/* ------------------------------------------------------------------------
 * Parsing
 * ------------------------------------------------------------------------
 */

static bool
open_section(Parser *parser, const Tag *tag)
{
	if (parser->depth == MJ_MUSTACHE_MAX_DEPTH)
		return refuse_at(parser, tag->at, "",
						 "sections are nested more than %d deep",
						 MJ_MUSTACHE_MAX_DEPTH);
	parser->sections[parser->depth] = parser->result->nops;
	parser->section_at[parser->depth++] = tag->at;
	add_op(parser, tag->sigil == '#' ? OP_SECTION : OP_INVERTED, tag->name,
		   tag->length);
	return true;
}

/* Refuse to go on without the end of the innermost section. */
static bool
refuse_unclosed(Parser *parser, const char *found)
{
	int i = parser->depth - 1;
	const Op *section = &parser->result->ops[parser->sections[i]];
	char shown[SHOWN_SIZE];
	char hint[512];

	show(shown, parser->text + section->at, section->length);
	snprintf(hint, sizeof(hint), "Write {{/%s}} where it ends%s.", shown,
			 found);
	return refuse_at(parser, parser->section_at[i], hint,
					 "section \"%s\" is not closed", shown);
}

static bool
close_section(Parser *parser, const Tag *tag)
{
	const char *name = parser->text + tag->name;
	Op *ops = parser->result->ops;
	char shown[SHOWN_SIZE];
	char found[SHOWN_SIZE + 64];
	int section;
	int line;
	int column;

	show(shown, name, tag->length);
	if (parser->depth == 0)
		return refuse_at(
			parser, tag->at,
			"A section begins with {{#name}} or {{^name}} and ends with {{/name}}.",
			"{{/%s}} closes no section", shown);
	section = parser->sections[parser->depth - 1];
	if (ops[section].length != tag->length ||
		memcmp(parser->text + ops[section].at, name, tag->length) != 0)
	{
		locate(parser, tag->at, &line, &column);
		snprintf(found, sizeof(found), ", before {{/%s}} at line %d, column %d",
				 shown, line, column);
		return refuse_unclosed(parser, found);
	}
	parser->depth--;
	ops[section].link = parser->result->nops;
	add_op(parser, OP_END, tag->name, tag->length);
	return true;
}

/* Copy a new delimiter, [from, to).  False if it cannot be one. */
static bool
take_delimiter(const char *text, size_t from, size_t to, char *delimiter)
{
	if (from == to || to - from > MAX_DELIMITER)
		return false;
	for (size_t i = from; i < to; i++)
		if (text[i] == '=' || text[i] == '\0' || is_space(text[i]))
			return false;
	memcpy(delimiter, text + from, to - from);
	delimiter[to - from] = '\0';
	return true;
}

static bool
set_delimiters(Parser *parser, const Tag *tag)
{
	const char *text = parser->text;
	size_t end = tag->name + tag->length;
	size_t first = tag->name;
	size_t second;
	char shown[SHOWN_SIZE];

	while (first < end && !is_space(text[first]))
		first++;
	second = first;
	while (second < end && is_space(text[second]))
		second++;
	if (take_delimiter(text, tag->name, first, parser->open) &&
		take_delimiter(text, second, end, parser->close))
		return true;
	return refuse_at(
		parser, tag->at,
		"Write {{=<% %>=}}: two delimiters, with a space between them, of at most 16 bytes and without \"=\".",
		"invalid delimiters \"%s\"",
		show(shown, text + tag->name, tag->length));
}

/* The partial that is the first tag of its line may get an indentation. */
static void
add_partial(Parser *parser, const Tag *tag)
{
	if (parser->ntags == 1)
	{
		parser->lead = parser->result->nops;
		parser->lead_at = tag->at;
	}
	add_op(parser, OP_PARTIAL, tag->name, tag->length);
}

/* Turn a tag into what it means. */
static bool
compile_tag(Parser *parser, const Tag *tag)
{
	Op *op;

	if (tag->sigil == '!')
		return true;
	if (tag->sigil == '=')
		return set_delimiters(parser, tag);
	if (!check_name(parser, tag))
		return false;
	if (tag->sigil == '/')
		return close_section(parser, tag);
	if (tag->sigil == '>')
	{
		add_partial(parser, tag);
		return true;
	}
	if (tag->sigil == '#' || tag->sigil == '^')
	{
		if (!open_section(parser, tag))
			return false;
		op = &parser->result->ops[parser->result->nops - 1];
	}
	else
	{
		parser->has_other = true;
		op = add_op(parser, tag->sigil == '\0' ? OP_ESCAPED : OP_RAW, tag->name,
					tag->length);
	}
	op->dotted = tag->length > 1 &&
		memchr(parser->text + tag->name, '.', tag->length) != NULL;
	return true;
}

/* The template as a whole. */
static bool
parse(Parser *parser)
{
	size_t at = 0;
	Tag tag = { 0 };

	begin_line(parser, 0);
	for (;;)
	{
		size_t next =
			mj_mustache_find(parser->text, at, parser->length, parser->open);

		take_text(parser, at, next);
		if (next == parser->length)
			break;
		if (!take_tag(parser, next, &tag))
			return false;
		enter_tag(parser);
		if (!compile_tag(parser, &tag))
			return false;
		at = tag.end;
	}
	return parser->depth == 0 || refuse_unclosed(parser, "");
}

/*
 * Parse a template; NULL and a problem if it is none.  The result is palloc'ed
 * in the current context.
 */
MjMustache *
mj_mustache_parse(const char *text, size_t length, MjProblem *problem)
{
	Parser parser;

	if (length > MJ_MUSTACHE_MAX_TEMPLATE)
	{
		mj_mustache_refuse(problem, "", "", "it is longer than %d bytes",
						   MJ_MUSTACHE_MAX_TEMPLATE);
		return NULL;
	}
	memset(&parser, 0, offsetof(Parser, sections));
	parser.result = palloc(offsetof(MjMustache, text) + length + 1);
	parser.result->size = 16;
	parser.result->nops = 0;
	parser.result->ops = palloc(parser.result->size * sizeof(Op));
	parser.result->length = length;
	memcpy(parser.result->text, text, length);
	parser.result->text[length] = '\0';
	parser.text = parser.result->text;
	parser.length = length;
	parser.problem = problem;
	strlcpy(parser.open, "{{", sizeof(parser.open));
	strlcpy(parser.close, "}}", sizeof(parser.close));
	if (parse(&parser))
		return parser.result;
	mj_mustache_free(parser.result);
	return NULL;
}

void
mj_mustache_free(MjMustache *template)
{
	pfree(template->ops);
	pfree(template);
}

/* The partials that a template names, one after the other; *cursor from 0. */
bool
mj_mustache_next_partial(const MjMustache *template, int *cursor,
						 const char **name, int *length)
{
	while (*cursor < template->nops)
	{
		const Op *op = &template->ops[(*cursor)++];

		if (op->kind != OP_PARTIAL)
			continue;
		*name = template->text + op->at;
		*length = op->length;
		return true;
	}
	return false;
}
