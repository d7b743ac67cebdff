# motionify_jobs: schedules, a queue and mail inside PostgreSQL 15 to 18.
#
#   make                    build with the first pg_config in PATH
#   make install            into the PostgreSQL installation of that pg_config
#   make test               everything, on a private server (test/run)
#   make help               all targets

MODULE_big = motionify_jobs
EXTENSION = motionify_jobs
EXTVERSION = 1.0
PGFILEDESC = "motionify_jobs - schedules, a queue and mail inside the database"

SRCS = motionify_jobs.c $(sort $(wildcard src/*.c))
OBJS = $(SRCS:.c=.o) build/board_files.o

# The board's templates, which are put into the library.
BOARD_FILES = $(sort $(wildcard board/*))

# --- The install script: one noun a file, joined in this order --------------
# A noun without a file is an error: make names the missing file.
INSTALL_SQL = catalog access schedule queue control external history active mail http doctor \
	portal_mail portal_job \
	statistics alert health metrics top portal pg_cron \
	board board_alert board_overview board_job board_run board_queue board_mail board_page \
	grants

DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

# Frozen scripts of released versions, and the upgrades between them.
DATA = $(filter-out $(DATA_built),$(wildcard sql/$(EXTENSION)--*.sql))

# --- Tests ------------------------------------------------------------------
# pg_regress tests by name, in order: sql/NAME.sql and expected/NAME.out.
REGRESS = schedule cron errors access status active mail template external queue statistics alert http board
REGRESS_OPTS = --encoding=UTF8 --no-locale --temp-instance=tmp_check \
	--temp-config=$(srcdir)/test/regress.conf

# isolation tests by name: test/specs/NAME.spec and test/expected/NAME.out.
ISOLATION = dedupe template
ISOLATION_OPTS = --inputdir=$(srcdir)/test \
	--temp-instance=tmp_check_iso \
	--temp-config=$(srcdir)/test/regress.conf

TAP_TESTS = 1
PROVE_TESTS = $(wildcard test/t/*.pl)

# --- Compiler and linker ----------------------------------------------------
# -MMD: a changed header rebuilds what includes it.
# MJ_TESTING=1 adds the injected clock and the fault points; never install it on a real server.
PG_CPPFLAGS = -Isrc -MMD -MP $(if $(MJ_TESTING),-DMJ_TESTING)
SHLIB_LINK = -lcurl -lidn2 -lcrypto

# Only what the server looks up by name is exported: SQL functions and what is
# marked PGDLLEXPORT.  PostgreSQL 16 does that by itself, for 15 it takes a list.
SHLIB_EXPORTS = build/exports.txt

EXTRA_CLEAN = build $(OBJS:.o=.d) $(DATA_built).tmp \
	tmp_check output_iso tmp_check_iso $(EXTENSION)-*.tar.gz

# No bitcode: it needs clang, and nothing here is worth inlining into a query.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error '$(PG_CONFIG) --pgxs' names no file: install postgresql-server-dev-NN, or run test/run, which installs what it needs)
endif
include $(PGXS)

-include $(wildcard $(OBJS:.o=.d))

# A build for another server version or with other options starts afresh:
# this file changes when they do, and every object depends on it.
BUILD_KEY := $(VERSION) $(CC) $(CPPFLAGS) $(CFLAGS) $(COPT)
ifneq ($(BUILD_KEY),$(file < build/key))
$(shell mkdir -p build)
$(file > build/key,$(BUILD_KEY))
endif
$(OBJS): build/key

build/exports.txt: $(wildcard $(SRCS) src/*.h) build/key
	@{ printf '%s\n' _PG_init Pg_magic_func; \
	   sed -n -e 's/^PG_FUNCTION_INFO_V1(\([a-z0-9_]*\)).*/\1\npg_finfo_\1/p' \
	     -e 's/^\(extern \)\{0,1\}PGDLLEXPORT [a-z ]*\b\([a-z0-9_]*\)(.*/\2/p' \
	     $(filter %.c %.h,$^); \
	} | sort -u | awk '{ print $$1, NR }' > $@

# Each file of board/ as a C string, a line at a time.
build/board_files.c: $(BOARD_FILES) Makefile
	@mkdir -p build
	@{ echo '/* $@: made of board/ by make */'; \
	   echo '#include "board_files.h"'; \
	   echo 'const MjBoardFile mj_board_files[] = {'; \
	   for file in $(BOARD_FILES); do \
	     name=$${file##*/}; printf '{ "%s",\n' "$${name%.*}"; \
	     sed -e 's/\\/&&/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $$file; \
	     echo '},'; \
	   done; \
	   echo '};'; \
	   echo 'const int mj_board_nfiles = lengthof(mj_board_files);'; \
	} > $@.tmp && mv $@.tmp $@

INSTALL_PARTS = $(INSTALL_SQL:%=sql/install/%.sql)

$(DATA_built): $(INSTALL_PARTS) Makefile
	@{ echo '/* $@: joined from sql/install by make */'; \
	   printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	   for part in $(INSTALL_PARTS); do echo; cat $$part || exit 1; done; \
	} > $@.tmp && mv $@.tmp $@

# --- Everything below is for developers -------------------------------------
.PHONY: help lint format dev demo board test test-slow bench unit fuzz dist

help:
	@echo 'make                build; MJ_TESTING=1 adds the injected clock and fault points'
	@echo 'make install        into the installation of $$PG_CONFIG'
	@echo 'make installcheck   tests on servers of their own, not as root; needs make install'
	@echo 'make test           all tests; installs packages, builds, leaves nothing (test/run)'
	@echo 'make test-slow      the slow tests (test/run slow)'
	@echo 'make unit           the pure modules, without a server'
	@echo 'make fuzz           the pure modules, on hostile input'
	@echo 'make demo           the seven portal jobs on a throwaway server (test/demo)'
	@echo 'make dev            a server with the extension that stays up (test/dev)'
	@echo 'make board          the board of the server of make dev, at http://127.0.0.1:8377 (test/board)'
	@echo 'make bench          the benchmarks (bench/run)'
	@echo 'make lint           warnings, formatting, include direction, function lengths'
	@echo 'make format         clang-format all C files'
	@echo 'make dist           the release archive'

test:
	test/run

test-slow:
	test/run slow

demo:
	test/demo

dev:
	test/dev

board:
	test/board

bench:
	bench/run

lint:
	PG_CONFIG='$(PG_CONFIG)' test/lint

format:
	clang-format -i $(wildcard motionify_jobs.c src/*.[ch] test/*.c test/unit/*.[ch] test/fuzz/*.[ch] bench/*.c bench/peers/*.c)

dist:
	git archive --format=tar.gz --prefix=$(EXTENSION)-$(EXTVERSION)/ \
		-o $(EXTENSION)-$(EXTVERSION).tar.gz HEAD

# Programs of the pure modules: test/unit/*.mk add rules, and prerequisites of
# unit and fuzz.  They compile with these and put what they build into build/.
UNIT_CPPFLAGS = -DFRONTEND -Isrc -Itest/unit -I$(includedir_server) -MMD -MP
UNIT_CFLAGS = $(CFLAGS)
UNIT_LIBS = -L$(pkglibdir) -L$(libdir) -lpgcommon -lpgport -lpq -lm

unit:
fuzz:

include $(wildcard test/unit/*.mk)
