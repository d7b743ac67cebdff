/*-------------------------------------------------------------------------
 *
 * mustache_render.c
 *	  Mustache templates: rendered with the data that a source reads.
 *
 * Rendering is bounded in depth, in steps and in the size of what it writes,
 * whatever the template and the data are.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mustache_part.h"

#define MAX_INDENTATION 10000 /* bytes, of a partial in partials */

/* A value that names are looked up in, and those around it. */
typedef struct Context
{
	MjValue value;
	const struct Context *parent;
} Context;

/* What goes before each line of a partial. */
typedef struct Indentation
{
	const char *text;
	int length;
} Indentation;

typedef struct Renderer
{
	const MjRendering *how;
	StringInfo out;
	StringInfoData scratch; /* a value's text, before it is escaped */
	MjProblem *problem;
	int max_output;
	int64 steps; /* left */
	int depth;
} Renderer;

static bool render_range(Renderer *renderer, const MjMustache *template,
						 int from, int to, const Context *context,
						 const Indentation *indentation);

/* ------------------------------------------------------------------------
 * Values
 * ------------------------------------------------------------------------
 */

/* An item of a list by its number in digits; false if that is none. */
static bool
list_item(const Renderer *renderer, const MjValue *list, const char *digits,
		  size_t length, MjValue *value)
{
	int64 i = 0;

	if (length == 0 || length > 9 || (length > 1 && *digits == '0'))
		return false;
	for (size_t n = 0; n < length; n++)
	{
		if (digits[n] < '0' || digits[n] > '9')
			return false;
		i = i * 10 + (digits[n] - '0');
	}
	if (i >= list->count)
		return false;
	renderer->how->source->item(list, (int) i, value);
	return true;
}

/* What a value has under a key; *value may be the same.  False: nothing. */
static bool
value_member(Renderer *renderer, const MjValue *of, const char *key,
			 size_t length, MjValue *value)
{
	MjValue holder = *of;

	renderer->steps--;
	if (holder.kind == MJ_VALUE_OBJECT)
		return renderer->how->source->member(&holder, key, (int) length, value);
	if (holder.kind != MJ_VALUE_LIST)
		return false;
	if (length != 6 || memcmp(key, "length", 6) != 0)
		return list_item(renderer, &holder, key, length, value);
	memset(value, 0, sizeof(MjValue));
	value->kind = MJ_VALUE_COUNT;
	value->count = holder.count;
	value->truthy = holder.count > 0;
	return true;
}

/*
 * The value of a name: its first part is looked for in the innermost context
 * that has it, the others in what was found.  Null if there is none.
 */
static void
look_up(Renderer *renderer, const MjMustache *template, const Op *op,
		const Context *context, MjValue *value)
{
	const char *name = template->text + op->at;
	const char *end = name + op->length;
	const char *dot =
		op->dotted ? (const char *) memchr(name, '.', op->length) : end;
	bool found = false;

	if (op->length == 1 && *name == '.')
	{
		*value = context->value;
		return;
	}
	for (; context != NULL && !found; context = context->parent)
		found =
			value_member(renderer, &context->value, name, dot - name, value);
	while (found && dot < end)
	{
		name = dot + 1;
		dot = memchr(name, '.', end - name);
		if (dot == NULL)
			dot = end;
		found = value_member(renderer, value, name, dot - name, value);
	}
	if (!found)
		memset(value, 0, sizeof(MjValue)); /* MJ_VALUE_NULL */
}

/* ------------------------------------------------------------------------
 * Rendering
 * ------------------------------------------------------------------------
 */

static bool
refuse_output(const Renderer *renderer)
{
	return mj_mustache_refuse(renderer->problem, "", "",
							  "what is rendered is longer than %d bytes",
							  renderer->max_output);
}

/* Is there room for so many bytes?  Fills the problem if not. */
static bool
has_room(const Renderer *renderer, size_t bytes)
{
	return (size_t) renderer->out->len + bytes <=
		(size_t) renderer->max_output ||
		refuse_output(renderer);
}

/* What stands for a character in HTML; NULL: itself. */
static const char *
html_entity(char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
		default:
			return NULL;
	}
}

/* Write the text of a value, escaped if it is to be. */
static bool
write_value_text(Renderer *renderer, const char *text, size_t length,
				 bool escape)
{
	StringInfo out = renderer->out;
	size_t written = 0;

	if (!has_room(renderer, length))
		return false;
	for (size_t i = 0; escape && i < length; i++)
	{
		const char *entity = html_entity(text[i]);

		if (entity == NULL)
			continue;
		appendBinaryStringInfo(out, text + written, (int) (i - written));
		appendStringInfoString(out, entity);
		written = i + 1;
		if (!has_room(renderer, length - written))
			return false;
	}
	appendBinaryStringInfo(out, text + written, (int) (length - written));
	return true;
}

/* Write a value; null writes nothing. */
static bool
write_value(Renderer *renderer, const MjValue *value, bool escape)
{
	char digits[16];

	switch (value->kind)
	{
		case MJ_VALUE_NULL:
			return true;
		case MJ_VALUE_BOOL:
			return write_value_text(renderer, value->truthy ? "true" : "false",
									value->truthy ? 4 : 5, false);
		case MJ_VALUE_STRING:
			return write_value_text(renderer, value->text, value->length,
									escape);
		case MJ_VALUE_COUNT:
			return write_value_text(renderer, digits,
									snprintf(digits, sizeof(digits), "%d",
											 value->count),
									false);
		default:
			resetStringInfo(&renderer->scratch);
			renderer->how->source->append(value, &renderer->scratch);
			return write_value_text(renderer, renderer->scratch.data,
									renderer->scratch.len, escape);
	}
}

/* Write a piece of a template's text: a whole one, or lines to be indented. */
static bool
write_text(Renderer *renderer, const MjMustache *template, const Op *op,
		   const Indentation *indentation)
{
	const char *text = template->text + op->at;
	size_t left = op->length;
	bool begins = op->begins;

	if (indentation->length == 0)
	{
		if (!has_room(renderer, left))
			return false;
		appendBinaryStringInfo(renderer->out, text, (int) left);
		return true;
	}
	do
	{
		size_t n = Min(mj_mustache_find(text, 0, left, "\n") + 1, left);

		if (!has_room(renderer, n + indentation->length))
			return false;
		if (begins && !(n > 0 && *text == '\n'))
			appendBinaryStringInfo(renderer->out, indentation->text,
								   indentation->length);
		appendBinaryStringInfo(renderer->out, text, (int) n);
		text += n;
		left -= n;
		begins = true;
	} while (left > 0);
	return true;
}

/* Go one level down.  Fills the problem if that is too deep. */
static bool
descend(Renderer *renderer)
{
	if (renderer->depth++ < MJ_MUSTACHE_MAX_DEPTH)
		return true;
	return mj_mustache_refuse(
		renderer->problem, "",
		"A partial that includes itself has to do so in a section that ends.",
		"sections and partials are nested more than %d deep",
		MJ_MUSTACHE_MAX_DEPTH);
}

/* Render what is in a section once, with a value or, NULL, as it is around. */
static bool
render_body(Renderer *renderer, const MjMustache *template, int section,
			const Context *context, const MjValue *value,
			const Indentation *indentation)
{
	Context inner;
	bool done;

	if (value != NULL)
	{
		inner.value = *value;
		inner.parent = context;
		context = &inner;
	}
	done = descend(renderer) &&
		render_range(renderer, template, section + 1,
					 (int) template->ops[section].link, context, indentation);
	renderer->depth--;
	return done;
}

/* Render a section: not at all, once, or for each item of a list. */
static bool
render_section(Renderer *renderer, const MjMustache *template, int section,
			   const Context *context, const Indentation *indentation)
{
	const Op *op = &template->ops[section];
	MjValue value;
	MjValue item;

	look_up(renderer, template, op, context, &value);
	if ((op->kind == OP_SECTION) != value.truthy)
		return true;
	if (op->kind == OP_INVERTED || value.kind == MJ_VALUE_BOOL)
		return render_body(renderer, template, section, context, NULL,
						   indentation);
	if (value.kind != MJ_VALUE_LIST)
		return render_body(renderer, template, section, context, &value,
						   indentation);
	for (int i = 0; i < value.count; i++)
	{
		renderer->steps--;
		renderer->how->source->item(&value, i, &item);
		if (!render_body(renderer, template, section, context, &item,
						 indentation))
			return false;
	}
	return true;
}

/* Render a partial with its own indentation behind that of what it is in. */
static bool
render_partial(Renderer *renderer, const MjMustache *template, const Op *op,
			   const Context *context, const Indentation *outer)
{
	const MjMustache *partial = renderer->how->partial ?
		renderer->how->partial(renderer->how->arg, template->text + op->at,
							   (int) op->length) :
		NULL;
	Indentation indentation = { "", 0 };
	char *joined = NULL;
	bool done;

	if (partial == NULL)
		return true;
	if (op->begins)
		indentation = *outer;
	if (op->indented > 0)
	{
		if (outer->length + op->indented > MAX_INDENTATION)
			return mj_mustache_refuse(
				renderer->problem, "", "",
				"a partial is indented by more than %d bytes", MAX_INDENTATION);
		joined = palloc(outer->length + op->indented);
		memcpy(joined, outer->text, outer->length);
		memcpy(joined + outer->length, template->text + op->link, op->indented);
		indentation.text = joined;
		indentation.length = outer->length + (int) op->indented;
	}
	done = descend(renderer) &&
		render_range(renderer, partial, 0, partial->nops, context,
					 &indentation);
	renderer->depth--;
	if (joined)
		pfree(joined);
	return done;
}

/* Render one operation; a section with all that is in it. */
static bool
render_op(Renderer *renderer, const MjMustache *template, int i,
		  const Context *context, const Indentation *indentation)
{
	const Op *op = &template->ops[i];
	MjValue value;

	switch ((OpKind) op->kind)
	{
		case OP_TEXT:
			return write_text(renderer, template, op, indentation);
		case OP_ESCAPED:
		case OP_RAW:
			look_up(renderer, template, op, context, &value);
			return write_value(renderer, &value,
							   op->kind == OP_ESCAPED && renderer->how->escape);
		case OP_SECTION:
		case OP_INVERTED:
			return render_section(renderer, template, i, context, indentation);
		case OP_PARTIAL:
			return render_partial(renderer, template, op, context, indentation);
		case OP_END:
			break;
	}
	return true;
}

/* Render the operations [from, to). */
static bool
render_range(Renderer *renderer, const MjMustache *template, int from, int to,
			 const Context *context, const Indentation *indentation)
{
	do
	{
		const Op *op = &template->ops[from];

		if (--renderer->steps < 0)
			return mj_mustache_refuse(
				renderer->problem, "",
				"Lists in lists are repeated for each of the outer ones.",
				"rendering takes too many steps");
		if (from == to)
			break;
		if (!render_op(renderer, template, from, context, indentation))
			return false;
		if (op->kind == OP_SECTION || op->kind == OP_INVERTED)
			from = (int) op->link;
		from++;
	} while (from < to);
	return true;
}

/*
 * Render a template, behind what is in `out`.  False and a problem if that
 * takes too much; `out` is as it was then.
 */
bool
mj_mustache_render(const MjMustache *template, const MjRendering *rendering,
				   StringInfo out, MjProblem *problem)
{
	Renderer renderer;
	Context context = { rendering->data, NULL };
	Indentation none = { "", 0 };
	StringInfoData rendered;
	bool done;

	initStringInfo(&rendered);
	initStringInfo(&renderer.scratch);
	renderer.how = rendering;
	renderer.out = &rendered;
	renderer.problem = problem;
	renderer.max_output =
		rendering->max_output ? rendering->max_output : MJ_MUSTACHE_MAX_OUTPUT;
	renderer.steps =
		rendering->max_steps ? rendering->max_steps : MJ_MUSTACHE_MAX_STEPS;
	renderer.depth = 0;
	done =
		render_range(&renderer, template, 0, template->nops, &context, &none);
	if (done)
		appendBinaryStringInfo(out, rendered.data, rendered.len);
	pfree(rendered.data);
	pfree(renderer.scratch.data);
	return done;
}
