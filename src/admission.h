/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  The admission: what becomes of held runs.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ADMISSION_H
#define MJ_ADMISSION_H

extern int mj_admission_pass(int64 **to_cancel);

#endif /* MJ_ADMISSION_H */
