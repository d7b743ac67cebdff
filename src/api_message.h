/*-------------------------------------------------------------------------
 *
 * api_message.h
 *	  The message in SQL: attachments as an argument, and the whole of it as
 *	  bytes.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_API_MESSAGE_H
#define MJ_API_MESSAGE_H

#include "fmgr.h"

#include "mail_store.h"

extern void mj_message_take_attachments(Datum array, MjMail *mail);

#endif /* MJ_API_MESSAGE_H */
