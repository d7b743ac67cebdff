/*-------------------------------------------------------------------------
 *
 * hmac.c
 *	  HMAC-SHA256, in hexadecimal digits.
 *
 * By OpenSSL itself: PostgreSQL's own needs a resource owner, which there is none of
 * between transactions.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "hmac.h"

/* The HMAC of some bytes into digits[MJ_HMAC_SIZE]; false: it cannot be made. */
bool
mj_hmac_sha256(const char *key, const char *bytes, size_t length, char *digits)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	if (HMAC(EVP_sha256(), key, (int) strlen(key),
			 (const unsigned char *) bytes, length, hash, &size) == NULL)
		return false;
	for (unsigned int i = 0; i < size && 2 * i + 2 < MJ_HMAC_SIZE; i++)
		snprintf(digits + 2 * i, 3, "%02x", hash[i]);
	return true;
}
