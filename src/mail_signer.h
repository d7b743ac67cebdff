/*-------------------------------------------------------------------------
 *
 * mail_signer.h
 *	  The DKIM key of this process, as the settings name it.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_SIGNER_H
#define MJ_MAIL_SIGNER_H

#include "lib/stringinfo.h"
#include "mailer.h"

extern bool mj_mail_signer_check(MjMailTrouble *trouble);
extern void mj_mail_signer_sign(StringInfo message, const char *sender,
								int64 date);

#endif /* MJ_MAIL_SIGNER_H */
