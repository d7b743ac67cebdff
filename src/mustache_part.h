/*-------------------------------------------------------------------------
 *
 * mustache_part.h
 *	  What a parsed template is, for the two halves of the module.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MUSTACHE_PART_H
#define MJ_MUSTACHE_PART_H

#include "mustache.h"

typedef enum OpKind
{
	OP_TEXT,
	OP_ESCAPED,
	OP_RAW,
	OP_SECTION,
	OP_INVERTED,
	OP_END, /* of either */
	OP_PARTIAL
} OpKind;

typedef struct Op
{
	uint8 kind;		 /* OpKind */
	bool begins;	 /* text: a line of the template begins with it;
					  * partial: it stands alone on its line */
	bool dotted;	 /* the name has several parts */
	uint32 at;		 /* the text, or the name */
	uint32 length;	 /* of either */
	uint32 link;	 /* section: its end; partial: its indentation, ... */
	uint32 indented; /* ... of so many bytes */
} Op;

struct MjMustache
{
	Op *ops;
	int nops;
	int size; /* allocated */
	size_t length;
	char text[FLEXIBLE_ARRAY_MEMBER]; /* ends with a zero byte */
};

extern bool mj_mustache_refuse(MjProblem *problem, const char *detail,
							   const char *hint, const char *fmt, ...)
	pg_attribute_printf(4, 5);
extern size_t mj_mustache_find(const char *text, size_t from, size_t to,
							   const char *bytes);

#endif /* MJ_MUSTACHE_PART_H */
