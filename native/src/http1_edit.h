// Header edits, as a plan's headers steps hold them: which lines of a head stay, and which come. http layer; neither allocates nor owns.
//
// The edits of one head are runs (one for each step), done in order, each edit of a run in order. A line survives if no edit after it removes or
// sets its name; so a head is edited in one pass, without moving a byte twice, by asking that question for each line that there is and for
// each one that an edit adds.
#ifndef SL_HTTP1_EDIT_H
#define SL_HTTP1_EDIT_H

#include "http1_parse.h"
#include "sluice/plan.h"

struct sl_edit_run {
    const struct sl_plan_edit *edits;
    const uint8_t *bytes; // where their offsets count from: the plan, or a request's scratch
    uint32_t count;
    uint32_t drops; // the bits of all names that it takes away; sl_edits_note makes it
};

struct sl_edits {
    uint32_t bytes_max; // at least the sum of their `len`
    uint32_t run_count;
    struct sl_edit_run runs[SL_PLAN_CHAIN_MAX]; // the first is done first
};

// One bit of 32 for a name, in any case: most names that differ have different ones.
static inline uint32_t sl_edit_bit(const uint8_t *name, size_t len) {
    uint32_t first = name[0] | 0x20u, last = name[len - 1] | 0x20u;
    return 1u << ((first * 5 + last * 3 + name[len / 2] % 32u + len) % 32);
}
// Notes what makes a run quick, in its edits (once) and in the run.
void sl_edits_note(struct sl_plan_edit *edits, const uint8_t *bytes, uint32_t count);
uint32_t sl_edits_names(struct sl_span fields); // the bits of the names of field lines
uint32_t sl_edits_drops(const struct sl_plan_edit *edits, uint32_t count);

// Whether a line that is there before all edits stays. The name in any case.
bool sl_edits_keep(const struct sl_edits *edits, const uint8_t *name, size_t len);
bool sl_edits_add(const struct sl_edits *edits, struct sl_span name); // whether they may add a line of this name, in lower case
// Writes the lines that the edits add. Returns bytes, at most the sum of their `len`; out has room for them.
size_t sl_edits_lines(const struct sl_edits *edits, uint8_t *out);
// Copies the lines of `fields` ("name: value\r\n"...) that stay.
size_t sl_edits_filter(const struct sl_edits *edits, uint8_t *out, struct sl_span fields);

// Writes the request's head with its edits to out, in canonical form, and makes `head` the table of what was written. The request line, and what
// points into it, stays as it is. SL_OK; E_TOO_MANY_FIELDS or E_HEAD_TOO_LARGE: then `head` is of `data` as before, but without fields.
int sl_edits_request(const struct sl_edits *edits, struct sl_head *head, const uint8_t *data, uint8_t *out, size_t cap);

#endif
