// The busy door between C and TypeScript: one region of shared memory per (worker, isolate).
//
//   region, page aligned                                offset
//   +--------------------------------------------------+ 0
//   | control page: eight words, each on its own 128 B |
//   +--------------------------------------------------+ SL_RING_EVENTS_OFF (4096)
//   | events    entries x 64 B   C writes, TS reads    |
//   +--------------------------------------------------+ SL_RING_EVENTS_OFF + entries * 64
//   | verdicts  entries x 64 B   TS writes, C reads    |
//   +--------------------------------------------------+ slots_off = the sum so far (a multiple of 4096)
//   | exchange slots  slots x 64 KiB                   |
//   +--------------------------------------------------+ slots_off + slots * 65536
//
// `slots` is a power of two, 64 <= slots <= 16384; `entries` = 8 * slots. That is why neither ring can be full: a slot has at most four events
// that TypeScript has not read (one of REQUEST, HELLO, ANSWER and BODY; WRITABLE; PROXY_FAILED or, after an upgrade, DRAIN; ABORT), and, when it was given back
// with those unread, one REQUEST or HELLO and one ABORT of the next request (its others come after verdicts on it); and at most four verdicts that C has not
// read. When all slots are taken C answers 503 and counts it: nothing is queued.
//
// Counters (tail, head) run freely, modulo 2^32; the entry is `counter & (entries - 1)`. The writer fills entries, then
// release-stores its tail; the reader acquire-loads the tail, copies, then release-stores its head.
//
// Sleep and wake (both sides alike; all on the flag seq_cst):
//   consumer: sleeping = 1; if (tail != head) { sleeping = 0; go on } else wait
//   producer, once per batch: store tail; if (exchange(sleeping, 0) == 1) wake
// When an isolate has ended, or is blocked and must do nothing more, its requests go to another one if it has not begun with them. Nobody can stop a
// thread that is busy, so both sides agree (all seq_cst): TypeScript stores EVENT_BEGUN = counter + 1, then loads CLOSED, and handles the event only
// if that is 0; C stores CLOSED = 1, then loads EVENT_BEGUN. (EVENT_HEAD moves once per batch.)
//
// TypeScript sleeps on a byte from a loopback socket (sl_gateway_isolate_wake); C sleeps in its loop and is woken by
// sl_gateway_wake.
//
// An exchange slot is lent to TypeScript by the REQUEST event, or by HELLO, and given back by a verdict with SL_VERDICT_FINAL. Until then C does
// not reuse it, even if the connection is gone; a verdict for a dead connection is counted (late_verdicts) and does nothing
// else. `gen` is echoed, so that a mistake cannot answer another request: a wrong gen is counted and ignored.
//
//   slot, 64 KiB
//   +-------------------------------------------+ 0
//   | fields: up to 128 x struct sl_field, 12 B |
//   +-------------------------------------------+ SL_SLOT_PLAN_OFF (1536)
//   | u32: id of the plan, if steps_done > 0    |  so that its app skips the steps, and no later one
//   +-------------------------------------------+ SL_SLOT_TLS_OFF (1544)
//   | struct sl_slot_tls, if it came over TLS   |
//   +-------------------------------------------+ SL_SLOT_HEAD_OFF (2048)
//   | request head, at most 16 KiB, as received |  or an upstream's answer head, or a ClientHello: may reach into rx
//   +-------------------------------------------+ SL_SLOT_RX_OFF (18432)
//   | request body, one part at a time          |  14 KiB
//   +-------------------------------------------+ SL_SLOT_TX_OFF (32768)
//   | response field lines, then body bytes     |  32 KiB; with REQUEST: what a client's certificate says
//   +-------------------------------------------+ 65536
#ifndef SLUICE_RING_H
#define SLUICE_RING_H

#define SL_RING_MAGIC 0x53524e47u // "SRNG"
#define SL_RING_ABI 4u
#define SL_RING_PAGE 4096u
#define SL_RING_ENTRY_BYTES 64u
#define SL_RING_ENTRIES_PER_SLOT 8u
#define SL_RING_SLOTS_MIN 64u
#define SL_RING_SLOTS_MAX 16384u

// Byte offsets in the control page; every word is a u32.
#define SL_RING_MAGIC_OFF 0u
#define SL_RING_ABI_OFF 4u
#define SL_RING_SLOTS_OFF 8u
#define SL_RING_EVENT_TAIL_OFF 128u       // written by C
#define SL_RING_EVENT_HEAD_OFF 256u       // written by TypeScript
#define SL_RING_ISOLATE_SLEEPING_OFF 384u // 1: TypeScript waits for a wake byte
#define SL_RING_VERDICT_TAIL_OFF 512u     // written by TypeScript
#define SL_RING_VERDICT_HEAD_OFF 640u     // written by C
#define SL_RING_WORKER_SLEEPING_OFF 768u  // 1: the worker's loop waits in the kernel
#define SL_RING_EVENT_BEGUN_OFF 896u       // written by TypeScript: events before this counter are handled, or are being handled
#define SL_RING_CLOSED_OFF 1024u           // written by C: 1: no event may be begun any more
#define SL_RING_EVENTS_OFF 4096u

#define SL_SLOT_BYTES 65536u
#define SL_SLOT_FIELDS_OFF 0u
#define SL_SLOT_PLAN_OFF 1536u
#define SL_SLOT_TLS_OFF 1544u
#define SL_SLOT_HEAD_OFF 2048u
#define SL_SLOT_HEAD_BYTES 16384u
#define SL_SLOT_RX_OFF 18432u
#define SL_SLOT_RX_BYTES 14336u
#define SL_SLOT_TX_OFF 32768u
#define SL_SLOT_TX_BYTES 32768u

#endif
