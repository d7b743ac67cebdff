/*-------------------------------------------------------------------------
 *
 * api_message.c
 *	  The message in SQL: attachments as an argument, and the whole of it as
 *	  bytes.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "access.h"
#include "api_message.h"
#include "mail_content.h"
#include "mail_session.h"
#include "mail_signer.h"

PG_FUNCTION_INFO_V1(mj_api_preview_mail);

/* Columns of type jobs.attachment */
enum
{
	ATTACHMENT_FILENAME = 1,
	ATTACHMENT_CONTENT,
	ATTACHMENT_TYPE,
	ATTACHMENT_ID
};

/* ------------------------------------------------------------------------
 * Attachments
 * ------------------------------------------------------------------------
 */

/* A text column of a row, NULL if it is. */
static const char *
row_text(HeapTupleHeader row, AttrNumber column)
{
	bool isnull;
	Datum value = GetAttributeByNum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Take one attachment; what is in it is checked with the message. */
static void
take_attachment(Datum element, int number, MjMailAttachment *attachment)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(element);
	bool isnull;
	Datum content = GetAttributeByNum(row, ATTACHMENT_CONTENT, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("attachments[%d].content must not be null", number)));
	attachment->filename = row_text(row, ATTACHMENT_FILENAME);
	if (attachment->filename == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("attachments[%d].filename must not be null", number)));
	attachment->content_type = row_text(row, ATTACHMENT_TYPE);
	attachment->content_id = row_text(row, ATTACHMENT_ID);
	attachment->content = PG_DETOAST_DATUM_PACKED(content);
}

/*
 * Take the argument attachments, of type jobs.attachment[], into a mail.
 * Raises 22004 for what is null in it, 22023 if there are too many: before any
 * of them is read.
 */
void
mj_message_take_attachments(Datum array, MjMail *mail)
{
	ArrayType *elements = DatumGetArrayTypeP(array);
	MjMailAttachment *attachments;
	Datum *values;
	bool *nulls;
	int n;
	int i;
	int16 length;
	bool byval;
	char align;

	get_typlenbyvalalign(ARR_ELEMTYPE(elements), &length, &byval, &align);
	deconstruct_array(elements, ARR_ELEMTYPE(elements), length, byval, align,
					  &values, &nulls, &n);
	if (n > MJ_MIME_MAX_ATTACHMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too many \"attachments\""),
				 errdetail("A message can have %d attachments.",
						   MJ_MIME_MAX_ATTACHMENTS)));
	attachments = palloc(Max(n, 1) * sizeof(MjMailAttachment));
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("attachments[%d] must not be null", i + 1)));
		take_attachment(values[i], i + 1, &attachments[i]);
	}
	mail->attachments = attachments;
	mail->nattachments = n;
}

/* ------------------------------------------------------------------------
 * Preview
 * ------------------------------------------------------------------------
 */

/* Find a mail whose content the current user may see. */
static void
find_mail(int64 mail_id, MjMail *mail, TimestampTz *due_at)
{
	if (!mj_mail_find(mail_id, mail, due_at))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("mail %lld does not exist", (long long) mail_id),
			 errhint(
				 "Ended mails are kept for motionify_jobs.history_retention.")));
	if (!mj_access_is_member(mail->role_oid) && !mj_access_is_operator())
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for mail %lld", (long long) mail_id),
			 errdetail(
				 "Only operators, and members of the role that sent it, may see what is in it.")));
}

/*
 * jobs.preview_mail(mail_id) returns bytea: the bytes that would be sent now;
 * 42704, 42501, and what keeps mail from being rendered or signed.
 */
Datum
mj_api_preview_mail(PG_FUNCTION_ARGS)
{
	MjMail mail;
	MjMailContent *content;
	MjMailDraft draft;
	MjMailTrouble trouble = { 0 };
	MjProblem problem;
	TimestampTz due_at;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	find_mail(PG_GETARG_INT64(0), &mail, &due_at);
	if (!mj_mail_check_defaults(&problem))
		mj_mail_raise(ERRCODE_INVALID_PARAMETER_VALUE, &problem);
	if (!mj_mail_signer_check(&trouble))
		mj_mail_raise(trouble.sqlstate, &trouble.problem);
	content = mj_mail_content(&mail, due_at, true, &problem);
	if (content == NULL || !mj_mail_draft(content, &draft, &problem))
		mj_mail_raise(ERRCODE_INVALID_PARAMETER_VALUE, &problem);
	PG_RETURN_BYTEA_P(
		cstring_to_text_with_len(draft.bytes.data, draft.bytes.len));
}
