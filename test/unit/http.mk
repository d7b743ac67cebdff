# Unit tests of the HTTP modules; make unit-http builds and runs them.

HTTP_SOURCES := $(addprefix src/,http.c http_verdict.c host_pattern.c hmac.c smtp_dialogue.c)
HTTP_HEADERS := $(HTTP_SOURCES:.c=.h) src/pure.h test/unit/mail_tap.h

.PHONY: unit-http
unit: unit-http

build/http_test: test/unit/http_test.c $(HTTP_SOURCES) $(HTTP_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) -lcurl -lcrypto $(MAIL_LIBS)

unit-http: build/http_test
	build/http_test
