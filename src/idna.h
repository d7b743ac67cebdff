/*-------------------------------------------------------------------------
 *
 * idna.h
 *	  Internationalized domain names: the ASCII form of one.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_IDNA_H
#define MJ_IDNA_H

#include "pure.h"

extern bool mj_idna_to_ascii(const char *domain, size_t length, char *to,
							 size_t size);

#endif /* MJ_IDNA_H */
