/*-------------------------------------------------------------------------
 *
 * mail_check.h
 *	  The check of mail, step by step, in the caller's process.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_MAIL_CHECK_H
#define MJ_MAIL_CHECK_H

#include "mail_session.h"
#include "mailer.h"

#define MJ_MAIL_STEPS 5 /* settings, connect, TLS, AUTH, mail */

extern void mj_mail_check_try(MjMailTrouble *trouble);
extern int mj_mail_check_steps(const char *recipient, MjMailStep *steps);

#endif /* MJ_MAIL_CHECK_H */
