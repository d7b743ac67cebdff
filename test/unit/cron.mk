# Unit test, fuzz target and benchmark of the schedule.  All are frontend
# programs: they need PostgreSQL's headers and its common libraries only.
#
#   make -f test/unit/cron.mk build/cron_test    run: build/cron_test test/data/cron.tsv [years]
#   make -f test/unit/cron.mk build/cron_fuzz    run: build/cron_fuzz -max_total_time=60
#   make -f test/unit/cron.mk build/cron_bench   run: build/cron_bench

CC ?= gcc
CLANG ?= clang
PG_CONFIG ?= pg_config

CRON_FILES = cron cron_reader cron_field cron_moment cron_day cron_next cron_words
CRON_SOURCES = $(CRON_FILES:%=src/%.c)
CRON_HEADERS = src/pure.h src/cron.h src/cron_part.h test/unit/cron_zone.h
CRON_FLAGS = -DFRONTEND -D_GNU_SOURCE -Isrc -Itest/unit -Wall -Wextra -Werror \
	-Wno-unused-parameter -I$(shell $(PG_CONFIG) --includedir-server) \
	-I$(shell $(PG_CONFIG) --includedir)/internal
CRON_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) \
	-lpgcommon -lpgport -lm

build/cron_test: test/unit/cron_test.c test/unit/cron_oracle.h $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CC) -O2 -g $(CRON_FLAGS) -o $@ $< $(CRON_SOURCES) $(CRON_LIBS)

build/cron_fuzz: test/unit/cron_fuzz.c $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CLANG) -O1 -g -fsanitize=fuzzer,address $(CRON_FLAGS) -Wno-ignored-attributes -o $@ $< $(CRON_SOURCES) $(CRON_LIBS)

build/cron_bench: bench/cron_bench.c $(CRON_SOURCES) $(CRON_HEADERS)
	@mkdir -p build
	$(CC) -O2 -g $(CRON_FLAGS) -o $@ $< $(CRON_SOURCES) $(CRON_LIBS)
