# Unit test, fuzz target and benchmark of the schedule.
#
#   make unit-cron     build and run the tests (TAP); CRON_YEARS=10 for the oracle's ten years
#   make fuzz-cron     build and run the fuzz target, FUZZ_SECONDS
#   make bench-cron    build and run the benchmark
#
# Everything is built in build/.

CC ?= gcc
CLANG ?= clang
PG_CONFIG ?= pg_config
FUZZ_SECONDS ?= 20
CRON_YEARS ?= 2

CRON_CFLAGS := -g -O2 -DFRONTEND -D_GNU_SOURCE -Wall -Wextra -Werror \
	-Wno-unused-parameter -Isrc -Itest/unit \
	-I$(shell $(PG_CONFIG) --includedir-server)
CRON_LIBS := -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) \
	-lpgcommon -lpgport -lm
CRON_SOURCES := $(addprefix src/,cron.c cron_reader.c cron_field.c \
	cron_moment.c cron_day.c cron_next.c cron_words.c)
CRON_HEADERS := src/pure.h src/cron.h src/cron_part.h test/unit/cron_zone.h \
	test/unit/cron_oracle.h

.PHONY: unit fuzz unit-cron fuzz-cron bench-cron
unit: unit-cron
fuzz: fuzz-cron

build/cron_test: test/unit/cron_test.c $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CC) $(CRON_CFLAGS) -o $@ $(filter %.c,$^) $(CRON_LIBS)

# clang does not know the format attribute that PostgreSQL was configured with
build/cron_fuzz: test/unit/cron_fuzz.c $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CLANG) $(CRON_CFLAGS) -Wno-ignored-attributes \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $(filter %.c,$^) $(CRON_LIBS)

build/cron_bench: bench/cron_bench.c $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CC) $(CRON_CFLAGS) -o $@ $(filter %.c,$^) $(CRON_LIBS)

unit-cron: build/cron_test
	build/cron_test test/data/cron.tsv $(CRON_YEARS)

fuzz-cron: build/cron_fuzz
	@mkdir -p build/corpus/cron
	cut -f 1 test/data/cron.tsv | sort -u | awk '{ \
		f = "build/corpus/cron/vector" NR; \
		printf "%cUUUUUUUU%s", 65 + NR % 4, $$0 > f; close(f) }'
	build/cron_fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=2200 \
		-dict=test/unit/cron.dict -artifact_prefix=build/ build/corpus/cron

bench-cron: build/cron_bench
	build/cron_bench
