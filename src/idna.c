/*-------------------------------------------------------------------------
 *
 * idna.c
 *	  Internationalized domain names: the ASCII form of one.
 *
 * By libidn2, which libcurl is linked with as well: a host name in an address
 * is then the one that curl, and every browser, makes of it (IDNA 2008, with
 * the mapping of UTS 46).
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <idn2.h>

#include "idna.h"

#define MAX_DOMAIN 1024 /* bytes before it is mapped */

/*
 * Write the ASCII form ("xn--...") of a domain in UTF-8 to to[size].  False if
 * it has none: characters that domains cannot have, or too long.
 */
bool
mj_idna_to_ascii(const char *domain, size_t length, char *to, size_t size)
{
	uint8_t copy[MAX_DOMAIN + 1];
	uint8_t *ascii = NULL;
	bool fits;

	if (length > MAX_DOMAIN)
		return false;
	memcpy(copy, domain, length);
	copy[length] = '\0';
	if (idn2_lookup_u8(copy, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) !=
		IDN2_OK)
		return false;
	fits = strlcpy(to, (const char *) ascii, size) < size;
	idn2_free(ascii);
	return fits;
}
