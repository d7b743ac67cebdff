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

/* The end of a quoted string that means the same without quotes, else NULL. */
static const char *
plain_quoted(const char *address)
{
	const char *s = address + 1;

	if (*address != '"' || *s == '.' || *s == '"')
		return NULL;
	for (; *s != '"'; s++)
		if (*s <= ' ' || *s == 0x7f || strchr("\\()<>[]:;@,", *s) != NULL ||
			(*s == '.' && (s[1] == '.' || s[1] == '"')))
			return NULL;
	return s[1] == '@' ? s : NULL;
}

/*
 * Fold an addr-spec to the form by which two are compared.  ASCII letters are
 * made lower case, also before the @: by RFC 5321 their case could matter
 * there, but no server that people use has two mailboxes that differ so.  Quotes that
 * change nothing go.  All else stays: what comes after a + or which dots do
 * not matter is known to the server alone.  folded has size bytes.
 */
void
mj_address_fold(const char *address, char *folded, size_t size)
{
	const char *quote = plain_quoted(address);
	size_t n = 0;
	const char *s;

	for (s = address + (quote != NULL); *s && n < size - 1; s++)
		if (s != quote)
			folded[n++] = pg_ascii_tolower((unsigned char) *s);
	folded[n] = '\0';
}
