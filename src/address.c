/*-------------------------------------------------------------------------
 *
 * address.c
 *	  An address as the suppression list knows it.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "address.h"

/*
 * Fold an addr-spec, as mime has it, to the form by which two are compared.
 * ASCII letters are made lower case, also before the @: by RFC 5321 their case
 * could matter there, but no server that people use has two mailboxes that
 * differ so.  All else stays: what comes after a +, or which dots do not matter,
 * is known to the server alone.  folded has size bytes.
 */
void
mj_address_fold(const char *address, char *folded, size_t size)
{
	size_t n = 0;

	for (; *address && n < size - 1; address++)
		folded[n++] = pg_ascii_tolower((unsigned char) *address);
	folded[n] = '\0';
}
