# Unit tests and the fuzz target of templates.
#
#   make unit-mustache   build and run the tests (TAP)
#   make fuzz-mustache   build and run the fuzz target, FUZZ_SECONDS
#
# The comparison with mustache.js needs Node.js and its package "mustache", in
# NODE_PATH; without them it is skipped.

MUSTACHE_SOURCES := src/mustache.c src/mustache_render.c
MUSTACHE_HEADERS := $(addprefix src/,pure.h mustache.h mustache_part.h) \
	$(addprefix test/unit/,mail_tap.h mustache_json.h)

.PHONY: unit-mustache fuzz-mustache
unit: unit-mustache
fuzz: fuzz-mustache

build/mustache_%: test/unit/mustache_%.c $(MUSTACHE_SOURCES) $(MUSTACHE_HEADERS)
	@mkdir -p build
	$(CC) $(MAIL_CFLAGS) -Wno-missing-field-initializers $(MAIL_SANITIZE) -o $@ $(filter %.c,$^) $(MAIL_LIBS)

build/mustache_fuzz: test/unit/mustache_fuzz.c $(MUSTACHE_SOURCES) $(MUSTACHE_HEADERS)
	@mkdir -p build
	$(CLANG) $(MAIL_CFLAGS) -Wno-missing-field-initializers -Wno-ignored-attributes -fsanitize=fuzzer,address,undefined -o $@ \
		$(filter %.c,$^) $(MAIL_LIBS)

unit-mustache: build/mustache_test build/mustache_driver
	build/mustache_test
	@if command -v node >/dev/null; then node test/unit/mustache_compare.js build/mustache_driver; \
	else echo "ok 1 - comparison with mustache.js # SKIP no Node.js"; fi

fuzz-mustache: build/mustache_fuzz
	@mkdir -p build/corpus/mustache
	build/mustache_fuzz -max_total_time=$(FUZZ_SECONDS) -dict=test/unit/mustache.dict \
		-timeout=10 -max_len=4096 -artifact_prefix=build/ build/corpus/mustache
