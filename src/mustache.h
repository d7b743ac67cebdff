/*-------------------------------------------------------------------------
 *
 * mustache.h
 *	  Mustache templates: parsed once into a program, and rendered.
 *
 * What the data is made of, the caller knows: a value is one of few kinds, and
 * a source answers what is inside of it.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MUSTACHE_H
#define MJ_MUSTACHE_H

#include "pure.h"

#define MJ_MUSTACHE_MAX_TEMPLATE (1024 * 1024) /* bytes */

/* What a rendering may take, unless the caller says less. */
#define MJ_MUSTACHE_MAX_OUTPUT (16 * 1024 * 1024) /* bytes */
#define MJ_MUSTACHE_MAX_STEPS 20000000 /* tags, items and contexts looked at */

/* Sections within each other in a template; with partials, when rendered. */
#define MJ_MUSTACHE_MAX_DEPTH 200

typedef enum MjValueKind
{
	MJ_VALUE_NULL,
	MJ_VALUE_BOOL,
	MJ_VALUE_STRING,
	MJ_VALUE_NUMBER,
	MJ_VALUE_COUNT, /* a list's length */
	MJ_VALUE_LIST,
	MJ_VALUE_OBJECT
} MjValueKind;

/* A value of the data; belongs to the source. */
typedef struct MjValue
{
	MjValueKind kind;
	bool truthy;	  /* a section of it is rendered */
	const char *text; /* of a string */
	int length;		  /* of text */
	int count;		  /* items of a list; a count */
	const void *node; /* number, list, object: the source's own */
} MjValue;

/* How the inside of values is read. */
typedef struct MjValueSource
{
	/* The value of an object's key; false: it has none. */
	bool (*member)(const MjValue *object, const char *key, int length,
				   MjValue *value);
	/* An item of a list, from 0. */
	void (*item)(const MjValue *list, int i, MjValue *value);
	/* The text of a number, a list or an object. */
	void (*append)(const MjValue *value, StringInfo out);
} MjValueSource;

/* A template, parsed. */
typedef struct MjMustache MjMustache;

/* How a template is rendered. */
typedef struct MjRendering
{
	const MjValueSource *source;
	MjValue data;
	bool escape; /* {{name}} is escaped for HTML */
	/* The template of a name, or NULL: nothing is put in its place. */
	const MjMustache *(*partial)(void *arg, const char *name, int length);
	void *arg;
	int max_output; /* 0: MJ_MUSTACHE_MAX_OUTPUT */
	int max_steps;	/* 0: MJ_MUSTACHE_MAX_STEPS */
} MjRendering;

extern MjMustache *mj_mustache_parse(const char *text, size_t length,
									 MjProblem *problem);
extern void mj_mustache_free(MjMustache *template);
extern bool mj_mustache_next_partial(const MjMustache *template, int *cursor,
									 const char **name, int *length);
extern bool mj_mustache_render(const MjMustache *template,
							   const MjRendering *rendering, StringInfo out,
							   MjProblem *problem);

#endif /* MJ_MUSTACHE_H */
