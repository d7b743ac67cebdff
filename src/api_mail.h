/*-------------------------------------------------------------------------
 *
 * api_mail.h
 *	  The SQL functions of mail: send_mail, deliver_mail, check_mail.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_API_MAIL_H
#define MJ_API_MAIL_H

extern bool mj_mail_probe(char **detail, char **hint);
extern bool mj_mail_flow_is_well(char **detail, char **hint);

#endif /* MJ_API_MAIL_H */
