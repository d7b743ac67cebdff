/*-------------------------------------------------------------------------
 *
 * dkim.h
 *	  DKIM signatures of messages (RFC 6376, 8463), by OpenSSL.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_DKIM_H
#define MJ_DKIM_H

#include "pure.h"

/* A private key; its memory is OpenSSL's */
typedef struct MjDkimKey MjDkimKey;

/* In whose name is signed */
typedef struct MjDkimSigner
{
	const MjDkimKey *key;
	const char *domain;	  /* d=, in ASCII */
	const char *selector; /* s= */
	int64 time;			  /* t=, Unix seconds */
} MjDkimSigner;

extern MjDkimKey *mj_dkim_load_key(const char *pem, size_t length,
								   MjProblem *problem);
extern void mj_dkim_free_key(MjDkimKey *key);
extern const char *mj_dkim_algorithm(const MjDkimKey *key);
extern bool mj_dkim_is_name(const char *name);
extern void mj_dkim_relax_header(StringInfo out, const char *field,
								 size_t length);
extern void mj_dkim_relax_body(StringInfo out, const char *body, size_t length);
extern bool mj_dkim_put_signature(const MjDkimKey *key, const char *message,
								  size_t length, const char *const *names,
								  int nnames, StringInfo field);
extern bool mj_dkim_sign(const MjDkimSigner *signer, StringInfo message);

#endif /* MJ_DKIM_H */
