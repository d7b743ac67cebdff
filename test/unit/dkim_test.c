/*-------------------------------------------------------------------------
 *
 * dkim_test.c
 *	  Unit tests of DKIM: canonical forms, keys, and the signatures that the
 *	  RFCs print.  (That others verify what we sign is tested by
 *	  mail_bytes.py.)
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "dkim.h"
#include "mail_tap.h"

/* The keys and the message of RFC 8463, appendix A; published, of no use */
static const char ed25519_pem[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	"-----END PRIVATE KEY-----\n";

static const char rsa_pem[] =
	"-----BEGIN RSA PRIVATE KEY-----\n"
	"MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
	"Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
	"KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
	"AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
	"6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
	"zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
	"6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
	"uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
	"WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
	"WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
	"licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
	"o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
	"uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
	"-----END RSA PRIVATE KEY-----\n";

#define BODY_HASH "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="

static const char message[] =
	"From: Joe SixPack <joe@football.example.com>\r\n"
	"To: Suzie Q <suzie@shopping.example.net>\r\n"
	"Subject: Is dinner ready?\r\n"
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
	"\r\n"
	"Hi.\r\n"
	"\r\n"
	"We lost the game.  Are you hungry yet?\r\n"
	"\r\n"
	"Joe.\r\n";

static MjProblem problem;

static MjDkimKey *
load(const char *pem)
{
	memset(&problem, 0, sizeof(problem));
	return mj_dkim_load_key(pem, strlen(pem), &problem);
}

static void
test_canonical(void)
{
	StringInfoData out;

	initStringInfo(&out);
	mj_dkim_relax_header(&out, "A: X\r\n", 6);
	mj_dkim_relax_header(&out, "B : Y\t\r\n\tZ  \r\n", 14);
	tap_is(out.data, "a:X\r\nb:Y Z\r\n", "headers, RFC 6376 3.4.5");
	resetStringInfo(&out);
	mj_dkim_relax_header(&out, "Empty:  \r\n", 10);
	tap_is(out.data, "empty:\r\n", "an empty header");
	resetStringInfo(&out);
	mj_dkim_relax_body(&out, " C \r\nD \t E\r\n\r\n\r\n", 16);
	tap_is(out.data, " C\r\nD E\r\n", "body, RFC 6376 3.4.5");
	resetStringInfo(&out);
	mj_dkim_relax_body(&out, "\r\n \t\r\n\r\n", 8);
	tap_is(out.data, "", "a body without text is none");
	mj_dkim_relax_body(&out, "\r\n\r\na", 5);
	tap_is(out.data, "\r\n\r\na\r\n", "the last line gets an end");
	pfree(out.data);
}

/* The signature that the RFC prints, line ends and blanks taken out. */
static void
check_rfc(const char *pem, const char *field_text, const char *wanted,
		  const char *name)
{
	static const char *const names[] = { "from",	"to",		  "subject",
										 "date",	"message-id", "from",
										 "subject", "date" };
	MjDkimKey *key = load(pem);
	StringInfoData field;
	char got[1024];
	size_t n = 0;

	initStringInfo(&field);
	appendStringInfoString(&field, field_text);
	tap_ok(key != NULL &&
			   mj_dkim_put_signature(key, message, strlen(message), names,
									 lengthof(names), &field),
		   name);
	for (const char *p = field.data + strlen(field_text); *p; p++)
	{
		if (strchr(" \r\n", *p) == NULL)
			got[n++] = *p;
	}
	got[n] = '\0';
	tap_is(got, wanted, "it is the RFC's");
	mj_dkim_free_key(key);
	pfree(field.data);
}

static void
test_rfc(void)
{
	check_rfc(ed25519_pem,
			  "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
			  " d=football.example.com; i=@football.example.com;\r\n"
			  " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
			  " subject : date : message-id : from : subject : date;\r\n"
			  " bh=" BODY_HASH ";\r\n b=",
			  "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus"
			  "Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
			  "Ed25519, RFC 8463 appendix A");
	check_rfc(rsa_pem,
			  "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
			  " d=football.example.com; i=@football.example.com;\r\n"
			  " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
			  " date : message-id : from : subject : date;\r\n"
			  " bh=" BODY_HASH ";\r\n b=",
			  "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3"
			  "DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
			  "dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=",
			  "RSA, RFC 8463 appendix A");
}

static void
test_sign(void)
{
	MjDkimKey *key = load(ed25519_pem);
	MjDkimSigner signer = { key, "football.example.com", "brisbane",
							1528637909 };
	StringInfoData first;
	StringInfoData second;
	static const char wanted[] =
		"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
		" d=football.example.com; s=brisbane; t=1528637909; h=From:From:Reply-To:\r\n"
		" To:To:Cc:Subject:Subject:Date:Date:Message-ID:Message-ID:MIME-Version:\r\n"
		" Content-Type;\r\n"
		" bh=" BODY_HASH ";\r\n"
		" b=";

	initStringInfo(&first);
	initStringInfo(&second);
	appendStringInfoString(&first, message);
	appendStringInfoString(&second, message);
	tap_ok(mj_dkim_sign(&signer, &first), "a message is signed");
	first.data[Min(strlen(wanted), (size_t) first.len)] = '\0';
	tap_is(first.data, wanted, "its header, before the signature");
	resetStringInfo(&first);
	appendStringInfoString(&first, message);
	tap_ok(mj_dkim_sign(&signer, &first) && mj_dkim_sign(&signer, &second) &&
			   strcmp(first.data, second.data) == 0,
		   "again, the same bytes");
	tap_is(strstr(second.data, "From:  Joe") ?
			   "?" :
			   strstr(second.data, "\r\nFrom: ") + 2,
		   message, "the message follows as it was");
	mj_dkim_free_key(key);
	pfree(first.data);
	pfree(second.data);
}

/* Load what is no key for us; the problem must not show any of it. */
static void
check_bad_key(const char *pem, const char *wanted, const char *name)
{
	MjDkimKey *key = load(pem);

	tap_is(key ? "(accepted)" : problem.message, wanted, name);
	mj_dkim_free_key(key);
}

static void
test_keys(void)
{
	static const char none[] = "there is no private key in PEM form";
	char cut[sizeof(rsa_pem)];

	check_bad_key("", none, "key: empty");
	check_bad_key("hello\n", none, "key: text");
	check_bad_key(
		"-----BEGIN PUBLIC KEY-----\n"
		"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
		"-----END PUBLIC KEY-----\n",
		none, "key: a public one");
	strlcpy(cut, rsa_pem, 500);
	check_bad_key(cut, none, "key: cut off");
	check_bad_key(
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
		"MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjcrZyWOVJ9OwICCAAw\n"
		"-----END ENCRYPTED PRIVATE KEY-----\n",
		none, "key: encrypted, nobody is asked for its password");
	check_bad_key(
		"-----BEGIN PRIVATE KEY-----\n"
		"MC4CAQAwBQYDK2VuBCIEIHgGRpcSdgTFBRhJTtpdKZ2Thr4jKl4ZJ6rLjH2IC0Nf\n"
		"-----END PRIVATE KEY-----\n",
		"the key is neither RSA nor Ed25519", "key: X25519");
}

static void
test_names(void)
{
	static const char *const good[] = { "a", "s1.mail", "x-1", "_a",
										"xn--kln-sna.example" };
	static const char *const bad[] = { "",	 ".",	"a.",	".a",  "a..b",
									   "-a", "a b", "a;b=", "a\n", "\xc3\xbc" };

	for (size_t i = 0; i < lengthof(good); i++)
		tap_ok(mj_dkim_is_name(good[i]), "a name");
	for (size_t i = 0; i < lengthof(bad); i++)
		tap_ok(!mj_dkim_is_name(bad[i]), "no name");
}

int
main(void)
{
	test_canonical();
	test_rfc();
	test_sign();
	test_keys();
	test_names();
	return tap_done();
}
