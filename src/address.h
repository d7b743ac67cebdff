/*-------------------------------------------------------------------------
 *
 * address.h
 *	  An address as the suppression list knows it.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ADDRESS_H
#define MJ_ADDRESS_H

#include "pure.h"

extern void mj_address_fold(const char *address, char *folded, size_t size);

#endif /* MJ_ADDRESS_H */
