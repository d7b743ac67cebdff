/*-------------------------------------------------------------------------
 *
 * template_store.h
 *	  Templates of mails (jobs.mail_template).
 *
 * All functions need a transaction.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_TEMPLATE_STORE_H
#define MJ_TEMPLATE_STORE_H

#include "datatype/timestamp.h"

#define MJ_TEMPLATE_PARTS 3 /* subject, body_text, body_html */

/* A template. */
typedef struct MjTemplate
{
	const char *name;
	const char *parts[MJ_TEMPLATE_PARTS]; /* may be NULL */
	const char *role;					  /* whose it is */
	Oid role_oid; /* InvalidOid: nobody has the role's name */
	TimestampTz updated_at;
} MjTemplate;

/* A template as its row has it: not detoasted, to be compared. */
typedef struct MjTemplateRow
{
	Datum parts[MJ_TEMPLATE_PARTS];
	bool nulls[MJ_TEMPLATE_PARTS];
	TimestampTz updated_at;
	char *role;
	Oid role_oid;
} MjTemplateRow;

extern bool mj_template_read(const char *name, MjTemplateRow *row);
extern bool mj_template_find_locked(const char *name, MjTemplate *template);
extern bool mj_template_insert(const MjTemplate *template);
extern void mj_template_update(const MjTemplate *template);
extern void mj_template_delete(const char *name);
extern int mj_template_names(MjTemplate **templates);

#endif /* MJ_TEMPLATE_STORE_H */
