# Unit tests and fuzz targets of the mail modules.
#
#   make unit-mail     build and run the tests (TAP)
#   make fuzz-mail     build and run the fuzz targets, FUZZ_SECONDS each
#
# Everything is built in build/.

CC ?= gcc
CLANG ?= clang
PG_CONFIG ?= pg_config
PYTHON ?= /usr/bin/python3
NODE ?= node
FUZZ_SECONDS ?= 20
MAIL_SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=all

MAIL_CFLAGS := -g -O1 -std=gnu99 -DFRONTEND -DUSE_ASSERT_CHECKING=1 \
	-Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function \
	-Isrc -Itest/unit -I$(shell $(PG_CONFIG) --includedir-server)
MAIL_LIBS := -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) \
	-lpgcommon -lpgport -lpthread -lm
MAIL_HEADERS := $(addprefix src/,pure.h mime.h mime_part.h idna.h dkim.h \
	smtp_dialogue.h smtp.h mailfile.h) $(addprefix test/unit/,mail_tap.h)
MIME_SOURCES := $(wildcard src/mime*.c) src/idna.c
MIME_LIBS := -lidn2
DKIM_LIBS := -lcrypto

MAIL_TESTS := build/mime_test build/dkim_test build/smtp_dialogue_test
MAIL_DRIVERS := build/mime_driver build/smtp_driver
MAIL_FUZZ := build/smtp_reply_fuzz build/mime_fuzz build/dkim_fuzz

.PHONY: unit fuzz unit-mail fuzz-mail unit-mail-build
unit: unit-mail
fuzz: fuzz-mail

build/mime_test: test/unit/mime_test.c $(MIME_SOURCES) $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) $(MIME_LIBS) $(MAIL_LIBS)

build/dkim_test: test/unit/dkim_test.c src/dkim.c $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) $(DKIM_LIBS) $(MAIL_LIBS)

build/dkim_fuzz: test/unit/dkim_fuzz.c src/dkim.c $(MAIL_HEADERS)
	@mkdir -p build
	$(CLANG) $(MAIL_CFLAGS) -Wno-ignored-attributes -fsanitize=fuzzer,address,undefined -o $@ \
		$(filter %.c,$^) $(DKIM_LIBS) $(MAIL_LIBS)

build/smtp_dialogue_test: test/unit/smtp_dialogue_test.c src/smtp_dialogue.c $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) $(MAIL_LIBS)

build/mime_driver: test/unit/mime_driver.c src/dkim.c $(MIME_SOURCES) $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) $(MIME_LIBS) $(DKIM_LIBS) $(MAIL_LIBS)

build/smtp_driver: test/unit/smtp_driver.c src/smtp.c src/smtp_dialogue.c src/mailfile.c $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) $(MAIL_SANITIZE) -rdynamic -o $@ $(filter %.c,$^) \
		-lcurl $(MAIL_LIBS) -ldl

build/smtp_reply_fuzz: test/unit/smtp_reply_fuzz.c src/smtp_dialogue.c $(MAIL_HEADERS)
	@mkdir -p build
	$(CLANG) $(MAIL_CFLAGS) -Wno-ignored-attributes -fsanitize=fuzzer,address,undefined -o $@ \
		$(filter %.c,$^) $(MAIL_LIBS)

build/mime_fuzz: test/unit/mime_fuzz.c $(MIME_SOURCES) $(MAIL_HEADERS)
	@mkdir -p build
	$(CLANG) $(MAIL_CFLAGS) -Wno-ignored-attributes -fsanitize=fuzzer,address,undefined -o $@ \
		$(filter %.c,$^) $(MIME_LIBS) $(MAIL_LIBS)

unit-mail-build: $(MAIL_TESTS) $(MAIL_DRIVERS)

unit-mail: unit-mail-build
	build/mime_test
	build/dkim_test
	build/smtp_dialogue_test
	rm -rf build/mail_bytes && mkdir build/mail_bytes
	$(PYTHON) test/unit/mail_bytes.py build/mime_driver build/mail_bytes
	$(NODE) test/unit/mail_parser.js build/mail_bytes
	$(PYTHON) test/unit/smtp_live.py build/smtp_driver

fuzz-mail: $(MAIL_FUZZ)
	@mkdir -p build/corpus/smtp_reply build/corpus/mime build/corpus/dkim
	build/smtp_reply_fuzz -max_total_time=$(FUZZ_SECONDS) \
		-max_len=8192 -artifact_prefix=build/ build/corpus/smtp_reply
	build/mime_fuzz -max_total_time=$(FUZZ_SECONDS) \
		-max_len=4096 -artifact_prefix=build/ build/corpus/mime
	build/dkim_fuzz -max_total_time=$(FUZZ_SECONDS) \
		-max_len=4096 -artifact_prefix=build/ build/corpus/dkim

# How long a message takes, without and with signatures.
.PHONY: bench-mime
bench-mime: build/mime_bench
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out build/rsa.pem
	openssl genpkey -algorithm ED25519 -out build/ed25519.pem
	build/mime_bench build/rsa.pem build/ed25519.pem

build/mime_bench: test/unit/mime_bench.c src/dkim.c $(MIME_SOURCES) $(MAIL_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) -O2 -UUSE_ASSERT_CHECKING -o $@ $(filter %.c,$^) \
		$(MIME_LIBS) $(DKIM_LIBS) $(MAIL_LIBS)
