/*-------------------------------------------------------------------------
 *
 * hmac.h
 *	  HMAC-SHA256, in hexadecimal digits.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HMAC_H
#define MJ_HMAC_H

#include "pure.h"

#define MJ_HMAC_SIZE 65 /* digits, and a 0 */

extern bool mj_hmac_sha256(const char *key, const char *bytes, size_t length,
						   char *digits);

#endif /* MJ_HMAC_H */
