/*-------------------------------------------------------------------------
 *
 * notices.h
 *	  The messages that a command raises below ERROR: the last ones are kept.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_NOTICES_H
#define MJ_NOTICES_H

extern void mj_notices_begin(Size max_length);
extern void mj_notices_end(void);
extern char *mj_notices_text(void);
extern void mj_notices_forget(void);

#endif /* MJ_NOTICES_H */
