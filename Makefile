# Bailiff. `make` builds, `make run` shows it at work, `make test` proves it.
# See README.md; `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

BUILD  ?= build/release
PREFIX ?= /usr/local
CC     ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
V   ?= 0
Q   := $(if $(filter 1,$(V)),,@)

FOLDERS := lib schema policy audit engine proxy
# What a folder's tests link, from the top downwards (one way only).
UNDER_lib    := lib
UNDER_schema := schema lib
UNDER_policy := policy schema lib
UNDER_audit  := audit schema lib
UNDER_engine := engine schema lib
UNDER_proxy  := proxy policy audit engine schema lib

# --- Libraries -------------------------------------------------------------
# pkg-config name : Debian package
LIBRARIES := libmicrohttpd:libmicrohttpd-dev libcurl:libcurl4-openssl-dev \
             openssl:libssl-dev sqlite3:libsqlite3-dev jansson:libjansson-dev \
             libconfig:libconfig-dev
MODULES   := $(foreach l,$(LIBRARIES),$(firstword $(subst :, ,$(l))))
# What is missing is said by package, before anything is compiled. `run` and
# `test` install it themselves and then call make again.
GOALS := $(or $(MAKECMDGOALS),all)
NEEDS_LIBRARIES := $(filter-out clean help deps deps-test format format-check libcedar lint-includes run test,$(GOALS))
ifneq ($(NEEDS_LIBRARIES),)
NEEDED := $(LIBRARIES) $(if $(filter check% asan tsan test-all,$(GOALS)),cmocka:libcmocka-dev)
ifeq ($(shell command -v $(firstword $(CC))),)
$(error $(firstword $(CC)) is missing: install the Debian package $(firstword $(CC)), or run `make deps`)
endif
ifeq ($(shell command -v pkg-config),)
$(error pkg-config is missing: install the Debian package pkg-config, or run `make deps`)
endif
MISSING := $(shell for l in $(NEEDED); do pkg-config --exists $${l%:*} || echo $$l | cut -d: -f2; done)
ifneq ($(strip $(MISSING)),)
$(error missing: install the Debian package(s) $(strip $(MISSING)), or run `make deps$(if $(filter libcmocka-dev,$(MISSING)),-test)`)
endif
LIB_CFLAGS := $(shell pkg-config --cflags $(MODULES))
LIB_LIBS   := $(shell pkg-config --libs $(MODULES)) -lpthread -lm
endif

# --- Flags -----------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes \
            -Wcast-qual -Wwrite-strings -Wformat=2 -Wswitch-enum -Wvla \
            -Wundef -Wpointer-arith -Wno-unused-parameter
WERROR   ?= $(if $(or $(CI),$(SAN),$(DEBUG),$(filter check%,$(MAKECMDGOALS))),-Werror,)
VERSION  := $(shell cat VERSION 2>/dev/null)
# clang before 16 takes zero only when told that it may be removed.
accepts = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo "$(1)")
ZERO_AUTO := $(or $(call accepts,-ftrivial-auto-var-init=zero),$(call accepts,-ftrivial-auto-var-init=zero \
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang))
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE \
            $(ZERO_AUTO) $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
HARDEN_LD := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
ifeq ($(SAN),address)
  OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wno-format-truncation -Wno-maybe-uninitialized
  OPT_LD := -fsanitize=address,undefined
else ifeq ($(SAN),thread)
  OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -Wno-format-truncation -Wno-maybe-uninitialized
  OPT_LD := -fsanitize=thread
else ifeq ($(SAN),fuzzer)
  OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
  OPT_LD := -fsanitize=address,undefined
  WERROR :=
else ifneq ($(DEBUG),)
  OPT := -Og -g3
else
  OPT := -O2 -g -D_FORTIFY_SOURCE=2 $(HARDEN)
  OPT_LD := $(HARDEN_LD)
endif
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD)/generated
CFLAGS   ?=
ALL_CFLAGS := -std=gnu11 $(OPT) $(WARNINGS) $(WERROR) $(LIB_CFLAGS) $(CFLAGS)
ALL_LDFLAGS := $(OPT_LD) $(LDFLAGS)

# --- Sources ---------------------------------------------------------------
sources = $(filter-out proxy/main.c,$(wildcard $(1)/*.c $(1)/*/*.c))
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$(1)))
archive = $(BUILD)/lib$(1).a
EMBEDDED := $(wildcard schema/*.sql schema/*.cedarschema schema/*.yaml schema/*.json schema/*.cedar schema/*.conf schema/*.py)
EMBEDDED_C := $(patsubst schema/%,$(BUILD)/generated/schema/%.c,$(EMBEDDED))
EMBEDDED_O := $(EMBEDDED_C:.c=.o)

all: $(BUILD)/bailiff ## build the program (release, hardened)

define folder_rules
$(call archive,$(1)): $(call objects,$(1)) $(if $(filter schema,$(1)),$(EMBEDDED_O)) $(if $(filter proxy,$(1)),$(BUILD)/generated/policies.o)
	@rm -f $$@
	$(Q)ar rcsD $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

# Every file of schema/ becomes `const char schema_NAME[]` and its length.
$(BUILD)/generated/schema/%.c: schema/% schema/embed.sh
	@mkdir -p $(@D)
	$(Q)bash schema/embed.sh $< > $@

# The recipes and packs of policies/ become one table (proxy/rules/shipped.h).
$(BUILD)/generated/policies.c: $(shell find policies -type f)
	@mkdir -p $(@D)
	$(Q)bash policies/embed.sh > $@

$(BUILD)/generated/%.o: $(BUILD)/generated/%.c
	$(Q)$(CC) -std=gnu11 -I. $(OPT) -c $< -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -DBAILIFF_VERSION='"$(VERSION)"' -MMD -MP -c $< -o $@

$(BUILD)/bailiff: $(BUILD)/proxy/main.o $(foreach f,$(UNDER_proxy),$(call archive,$(f)))
	@echo "  LD $@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(ALL_LDFLAGS) $(LIB_LIBS)

# The Cedar language by itself: `make libcedar` gives build/release/libcedar.a,
# which needs nothing but the C library.
LIBCEDAR := $(wildcard policy/cedar/*.c) $(patsubst %,lib/%.c,arena buf err json json_value json_write must str)
$(BUILD)/libcedar.a: $(LIBCEDAR:%.c=$(BUILD)/%.o)
	@rm -f $@
	$(Q)ar rcsD $@ $^
libcedar: $(BUILD)/libcedar.a ## the Cedar language as a library of its own

# --- Unit tests ------------------------------------------------------------
# check: all of them; check-lib, check-policy ...: one folder's.
unit_sources = $(wildcard tests/unit/$(1)/*_test.c tests/unit/$(1)/*/*_test.c)
unit_programs = $(patsubst %.c,$(BUILD)/%,$(call unit_sources,$(1)))
define unit_rules
$(BUILD)/tests/unit/$(1)/%_test: $(BUILD)/tests/unit/$(1)/%_test.o $(foreach u,$(UNDER_$(1)),$(call archive,$(u)))
	@echo "  LD $$@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(ALL_LDFLAGS) $(LIB_LIBS) -lcmocka
check-$(1): $(call unit_programs,$(1))
	@bash tests/run-units.sh $(call unit_programs,$(1))
.PHONY: check-$(1)
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rules,$(f))))
ALL_UNITS := $(foreach f,$(FOLDERS),$(call unit_programs,$(f)))
check: $(ALL_UNITS) ## unit tests, under a minute
	@bash tests/run-units.sh $(ALL_UNITS)

# --- Fuzz targets ----------------------------------------------------------
# `make fuzz-replay` runs the committed corpora; `make fuzz` (clang) searches:
# FUZZ="cedar_policy json" picks the targets, FUZZ_SECONDS is for each. What is
# found stays in build/fuzz: corpus/NAME, and crash-*.
FUZZ := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_SECONDS ?= 60
# What a target links, by the beginning of its name.
fuzz_folder = $(if $(filter cedar_% policy_%,$(1)),policy,$(if $(filter dialect_%,$(1)),engine,$(if $(filter json sse chunked tar http1_%,$(1)),lib,proxy)))
define fuzz_rules
$(BUILD)/tests/fuzz/$(1)_fuzz: $(BUILD)/tests/fuzz/$(1)_fuzz.o $(if $(filter fuzzer,$(SAN)),,$(BUILD)/tests/fuzz/replay.o) $(foreach u,$(UNDER_$(call fuzz_folder,$(1))),$(call archive,$(u)))
	$(Q)$(CC) $(ALL_CFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(ALL_LDFLAGS) $(if $(filter fuzzer,$(SAN)),-fsanitize=fuzzer) $(LIB_LIBS)
endef
$(foreach f,$(FUZZ),$(eval $(call fuzz_rules,$(f))))
fuzz: ## search for inputs that break a parser (clang)
	@bash tests/fuzz/run.sh $(FUZZ_SECONDS) build/fuzz $(FUZZ)
fuzz-replay: $(foreach f,$(FUZZ),$(BUILD)/tests/fuzz/$(f)_fuzz) ## replay the fuzz corpora (any compiler)
	@for f in $(FUZZ); do $(BUILD)/tests/fuzz/$${f}_fuzz tests/fuzz/corpus/$$f || exit 1; done

# --- Packages ----------------------------------------------------------------
BUILD_PACKAGES := gcc make pkg-config libc6-dev tzdata ca-certificates \
    $(foreach l,$(LIBRARIES),$(lastword $(subst :, ,$(l))))
# Node.js that did not come from Debian brings its own npm, and Debian's npm
# cannot be installed beside it.
TEST_PACKAGES := libcmocka-dev debootstrap clang libclang-rt-14-dev \
    $(if $(shell command -v node),,nodejs) $(if $(shell command -v npm),,npm) \
    $(if $(shell command -v python3),,python3)
BENCH_PACKAGES := haproxy nginx
LINT_PACKAGES := clang-tidy cppcheck
deps: ## install the Debian packages that the build needs
	@bash tests/install-packages.sh $(BUILD_PACKAGES)
deps-test: deps ## and those that the tests need
	@bash tests/install-packages.sh $(TEST_PACKAGES)

test: deps-test ## everything; ends with "N passed, N failed"
	@$(MAKE) --no-print-directory -j$(JOBS) test-all

# What `test` runs once the packages are there.
test-all:
	@$(MAKE) --no-print-directory lint-includes
	@bash tests/run-all.sh $(BUILD)

run: deps ## build, make a demo state, show Bailiff at work, keep serving
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@bash scripts/tour.sh $(BUILD)/bailiff

debug: ## build without optimisation, with all debug information
	@$(MAKE) --no-print-directory DEBUG=1 BUILD=build/debug all
asan: ## build with address and undefined sanitizers, and run the unit tests
	@$(MAKE) --no-print-directory SAN=address BUILD=build/asan all check
tsan: ## the same with the thread sanitizer
	@$(MAKE) --no-print-directory SAN=thread BUILD=build/tsan all check

bench: all ## throughput and latency, beside others; ROUNDS=5 SECONDS=3
	@bash tests/install-packages.sh $(BENCH_PACKAGES)
	@for b in bench/*.sh; do echo "== $$b"; bash $$b $(BUILD)/bailiff $(ROUNDS) $(SECONDS) || exit 1; done

# (Tables of cases are laid out by their generator.)
SOURCES = $(filter-out tests/%.tbl.h,$(shell git ls-files '*.c' '*.h'))
format: ## lay the sources out with clang-format
	clang-format -i $(SOURCES)
format-check:
	@clang-format --dry-run --Werror $(SOURCES)
# cppcheck does not know that MUST ends the program, nor what a function sets
# through a pointer only when it gives ERR_OK (gcc and clang look at that), hence
# the three kinds that are left out.
lint: lint-includes ## clang-tidy and cppcheck
	@bash tests/install-packages.sh $(LINT_PACKAGES)
	cppcheck --quiet --enable=warning,portability --inline-suppr --suppress=uninitvar \
	    --suppress=nullPointerRedundantCheck --suppress=ctunullpointer \
	    --suppress=uninitStructMember \
	    '-Djson_object_foreach(o,k,v)=while(json_object_iter_next(o,k))' \
	    '-Djson_array_foreach(a,i,v)=while(json_array_get(a,i))' \
	    --error-exitcode=1 -D_GNU_SOURCE -I. $(FOLDERS)
	clang-tidy --quiet $(foreach f,$(FOLDERS),$(call sources,$(f))) -- \
	    -std=gnu11 $(CPPFLAGS) $(LIB_CFLAGS) -DBAILIFF_VERSION='"$(VERSION)"'
lint-includes:
	@bash tests/check-includes.sh

install: all ## install under PREFIX (and DESTDIR)
	install -D -m 0755 $(BUILD)/bailiff $(DESTDIR)$(PREFIX)/bin/bailiff
	install -d $(DESTDIR)$(PREFIX)/share/doc/bailiff
	install -m 0644 README.md LICENSE docs/*.md $(DESTDIR)$(PREFIX)/share/doc/bailiff

JOBS := $(shell nproc 2>/dev/null || echo 1)

clean: ## remove what was built
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

.PHONY: all deps deps-test test test-all run debug asan tsan format format-check lint lint-includes \
    install check fuzz fuzz-replay libcedar clean help
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
