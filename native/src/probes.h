// Static probes (USDT) of a request's way, for bpftrace and perf: a nop each, and a note in the library that tells where it is
// (docs/internals/life_of_a_request.md lists them). Only where <sys/sdt.h> is there when the library is built (systemtap-sdt-dev).
//
// All have the worker's index, then a pointer or slot that stays the same as long as the thing lives, then one fact.
#ifndef SL_PROBES_H
#define SL_PROBES_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define SL_PROBE(name, worker, thing, fact) DTRACE_PROBE3(sluice, name, worker, thing, fact)
#endif
#endif

#ifndef SL_PROBE
#define SL_PROBE(name, worker, thing, fact) ((void)(worker), (void)(thing), (void)(fact))
#endif

#endif
