/*-------------------------------------------------------------------------
 *
 * http_test.c
 *	  Unit tests of what may be called, and of what an answer means.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "hmac.h"
#include "host_pattern.h"
#include "http.h"
#include "http_verdict.h"
#include "mail_tap.h"

/* A list of patterns, and a URL that it means or does not. */
static const struct
{
	const char *list;
	const char *url;
	bool means;
} hosts[] = {
	{ "a.example", "http://a.example/", true },
	{ "a.example", "https://A.Example/", true },
	{ "a.example", "https://a.example:443/x?y", true },
	{ "a.example", "https://a.example:80/", false },
	{ "a.example", "http://a.example:8080/", false },
	{ "a.example", "http://b.a.example/", false },
	{ "a.example", "http://a.example./", false },
	{ "a.example:8080", "http://a.example:8080/", true },
	{ "a.example:8080", "http://a.example/", false },
	{ "a.example:*", "http://a.example:1/", true },
	{ "*.a.example", "http://b.a.example/", true },
	{ "*.a.example", "http://c.b.a.example/", true },
	{ "*.a.example", "http://a.example/", false },
	{ "*.a.example", "http://xa.example/", false },
	{ "https://a.example", "https://a.example/", true },
	{ "https://a.example", "http://a.example/", false },
	{ "http://a.example", "https://a.example/", false },
	{ "[::1]:80", "http://[::1]/", true },
	{ "[::1]", "http://[::2]/", false },
	{ "127.0.0.1", "http://127.0.0.1/", true },
	{ "127.0.0.1", "http://127.1/", true }, /* as libcurl will call it */
	{ "127.0.0.1", "http://0x7f000001/", true },
	{ "10.0.0.1", "http://167772161/", true },
	{ "x, a.example", "http://a.example/", true },
	{ "x y\tz", "http://z/", true },
	{ "", "http://a.example/", false },
};

/* What is no URL that may be called, and none that is read in two ways. */
static const char *const wrong_urls[] = {
	"",
	"a.example",
	"//a.example/",
	"ftp://a.example/",
	"file:///etc/passwd",
	"gopher://a.example/",
	"http://",
	"http:///x",
	"http://u@a.example/",
	"http://u:p@a.example/",
	"http://:p@a.example/",
	"http://a.example/#x",
	"http://a.example/ x",
	"http://a.example/\r\nX: y",
	"http://a.example/\x7f",
	"http://\xc3\xa4.example/",
	"http://a.example\\@b.example/",
	"http://a.example:99999/",
	"http://a.example:x/",
	"http://[::1/",
	"javascript:alert(1)",
};

static const char *const wrong_patterns[] = {
	"*",   "*.",   ".a", "a b/c",	"a:",	   "a:0", "a:65536", "a:x",	  "a/b",
	"u@a", "[::1", "[]", "*.[::1]", "ftp://a", "a*",  "http://", "a:1:2",
};

static void
test_hosts(void)
{
	MjHttpUrl url;
	MjProblem problem;
	char name[200];
	char wrong[50];

	for (size_t i = 0; i < lengthof(hosts); i++)
	{
		bool ok = mj_http_parse_url(hosts[i].url, &url, &problem);

		snprintf(name, sizeof(name), "\"%s\" %s %s", hosts[i].list,
				 hosts[i].means ? "means" : "does not mean", hosts[i].url);
		tap_ok(ok &&
				   mj_host_list_has(hosts[i].list, url.tls, url.host,
									url.port) == hosts[i].means,
			   name);
	}
	for (size_t i = 0; i < lengthof(wrong_patterns); i++)
	{
		snprintf(name, sizeof(name), "no pattern: %s", wrong_patterns[i]);
		tap_ok(!mj_host_list_check(wrong_patterns[i], wrong, sizeof(wrong)),
			   name);
	}
	tap_ok(mj_host_list_check(" a, *.b:1 ,\n[::1]:* https://c", wrong,
							  sizeof(wrong)),
		   "a list of patterns");
}

static void
test_urls(void)
{
	MjHttpUrl url;
	MjProblem problem;
	char name[200];
	char *long_url = calloc(1, MJ_HTTP_MAX_URL + 10);

	for (size_t i = 0; i < lengthof(wrong_urls); i++)
	{
		snprintf(name, sizeof(name), "no URL: %.100s", wrong_urls[i]);
		for (char *p = name; *p; p++)
			if (*p < ' ')
				*p = ' ';
		tap_ok(!mj_http_parse_url(wrong_urls[i], &url, &problem) &&
				   problem.message[0] != '\0',
			   name);
	}
	memset(long_url, 'x', MJ_HTTP_MAX_URL + 1);
	memcpy(long_url, "http://a/", 9);
	tap_ok(!mj_http_parse_url(long_url, &url, &problem), "too long a URL");
	long_url[MJ_HTTP_MAX_URL] = '\0';
	tap_ok(mj_http_parse_url(long_url, &url, &problem), "not too long");
	free(long_url);
	tap_ok(mj_http_parse_url("https://[::1]/", &url, &problem) && url.tls &&
			   url.port == 443 && url.loopback,
		   "the parts of a URL");
	tap_is(url.host, "[::1]", "its host");
}

static MjHttpVerdict
verdict_of(MjHttpError error, int status)
{
	MjHttpResponse response = { .error = error, .status = status };

	return mj_http_verdict(&response);
}

static void
test_verdicts(void)
{
	static const int retried[] = { 408, 425, 429, 500, 502, 503, 504, 599 };
	static const int final[] = { 100, 300, 301, 304, 307, 400, 401,
								 403, 404, 409, 410, 418, 422, 451 };
	char name[50];

	tap_ok(verdict_of(MJ_HTTP_OK, 200) == MJ_HTTP_DONE &&
			   verdict_of(MJ_HTTP_OK, 204) == MJ_HTTP_DONE,
		   "2xx is success");
	for (size_t i = 0; i < lengthof(retried); i++)
	{
		snprintf(name, sizeof(name), "%d may do another time", retried[i]);
		tap_ok(verdict_of(MJ_HTTP_OK, retried[i]) == MJ_HTTP_RETRY, name);
	}
	for (size_t i = 0; i < lengthof(final); i++)
	{
		snprintf(name, sizeof(name), "%d is final", final[i]);
		tap_ok(verdict_of(MJ_HTTP_OK, final[i]) == MJ_HTTP_FINAL, name);
	}
	tap_ok(verdict_of(MJ_HTTP_LOST, 200) == MJ_HTTP_RETRY,
		   "half an answer is none");
	tap_ok(verdict_of(MJ_HTTP_REFUSED, 0) == MJ_HTTP_FINAL,
		   "what must not be called never may");
}

static int64
wait_of(int status, int64 seconds)
{
	MjHttpResponse response = { .status = status, .retry_after_s = seconds };

	return mj_http_wait_s(&response);
}

static void
test_words(void)
{
	MjHttpResponse response = { .status = 302 };
	MjProblem problem;
	char sqlstate[6];

	tap_is_int(wait_of(503, 7), 7, "503 can say when");
	tap_is_int(wait_of(429, 10000000), MJ_HTTP_MAX_WAIT_S, "not too late");
	tap_is_int(wait_of(503, 0), 1, "nor at once");
	tap_is_int(wait_of(503, -1), -1, "or say nothing");
	tap_is_int(wait_of(500, 7), -1, "500 cannot");
	strlcpy(response.location, "https://x/", sizeof(response.location));
	mj_http_explain(&response, &problem);
	tap_is(problem.message, "server answered with HTTP status 302",
		   "the words of a redirect");
	tap_is(problem.detail,
		   "It points to https://x/; redirects are not followed.",
		   "and where it leads");
	mj_http_sqlstate(&response, sqlstate);
	tap_is(sqlstate, "XH302", "its SQLSTATE");
	response.error = MJ_HTTP_TIMEOUT;
	mj_http_sqlstate(&response, sqlstate);
	tap_is(sqlstate, "57014", "that of a timeout");
}

/* RFC 4231, test case 2 */
static void
test_hmac(void)
{
	char digits[MJ_HMAC_SIZE];

	tap_ok(mj_hmac_sha256("Jefe", "what do ya want for nothing?", 28, digits),
		   "an HMAC");
	tap_is(digits,
		   "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		   "of known bytes");
}

int
main(void)
{
	test_hosts();
	test_urls();
	test_verdicts();
	test_words();
	test_hmac();
	return tap_done();
}
