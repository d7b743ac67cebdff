/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  The utility hook: DDL that the workers must make way for or hear of.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_UTILITY_H
#define MJ_UTILITY_H

extern void mj_utility_init(void);

#endif /* MJ_UTILITY_H */
