/*-------------------------------------------------------------------------
 *
 * mail_template.h
 *	  The template that a caller names: found, permitted, rendered.
 *
 * All functions need a transaction.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_TEMPLATE_H
#define MJ_MAIL_TEMPLATE_H

#include "template_store.h"
#include "utils/jsonb.h"

/* The parts of a template, as in MjTemplate.parts */
typedef enum MjTemplatePart
{
	MJ_PART_SUBJECT,
	MJ_PART_TEXT,
	MJ_PART_HTML
} MjTemplatePart;

#define MJ_TEMPLATE_MAX_NAME 63 /* bytes */

extern void mj_template_check(const MjTemplate *template);
extern void mj_template_lookup_failed(const char *name);
extern bool mj_template_may_manage(Oid role);
extern bool mj_template_may_use(Oid role);
extern void mj_template_render(const char *name, Jsonb *data,
							   const bool *wanted, char **rendered);

#endif /* MJ_MAIL_TEMPLATE_H */
