// The 49 rules of docs/internals/http.md.
#ifndef SL_TEST_RULES_H
#define SL_TEST_RULES_H

// What shows that a rule is kept: rows of bytes (http1_parse_test.c, http1_chunk_test.c), connections with scripted peers (conn_rules_test.c), or
// nothing yet.
enum tags { PARSE = 1, CHUNK = 2, CONN = 4, LATER = 8 };

static const struct {
    int tags;
    const char *what;
} rules[] = {
    [1] = {PARSE, "octets, never text"},
    [2] = {PARSE | CHUNK, "bare CR"},
    [3] = {PARSE | CHUNK, "bare LF as a line's end"},
    [4] = {PARSE, "empty lines before the request line"},
    [5] = {PARSE, "whitespace before the first field"},
    [6] = {PARSE, "anything else outside the grammar"},
    [7] = {PARSE, "not method SP target SP version"},
    [8] = {PARSE, "version"},
    [9] = {PARSE, "over-long method, target"},
    [10] = {PARSE, "target form"},
    [11] = {PARSE | CONN, "absolute form"},
    [12] = {PARSE, "no Host, two, an invalid one"},
    [13] = {PARSE, "empty host in a target"},
    [14] = {PARSE, "CONNECT without a port"},
    [15] = {PARSE, "name not a token, space before the colon"},
    [16] = {PARSE, "obs-fold"},
    [17] = {PARSE, "controls in a value"},
    [18] = {PARSE | CONN, "lines of one name"},
    [19] = {PARSE, "optional whitespace"},
    [20] = {PARSE | CONN, "names in lower case, '_'"},
    [21] = {PARSE, "Content-Length"},
    [22] = {PARSE, "several lengths"},
    [23] = {PARSE, "Content-Length and Transfer-Encoding"},
    [24] = {PARSE, "last coding not chunked"},
    [25] = {PARSE, "chunked twice, identity, parameters; other codings"},
    [26] = {PARSE, "Transfer-Encoding in 1.0"},
    [27] = {PARSE, "no framing"},
    [28] = {PARSE | CONN, "never a body"},
    [29] = {CONN, "body shorter than declared"},
    [30] = {CHUNK, "chunk size"},
    [31] = {CHUNK, "chunk extensions"},
    [32] = {CHUNK, "chunk data without CRLF behind"},
    [33] = {CHUNK, "trailers"},
    [34] = {PARSE | CONN, "hop by hop, and what Connection lists"},
    [35] = {CONN, "body unread when the answer is done"},
    [36] = {CONN, "after close"},
    [37] = {CONN, "pipelined requests"},
    [38] = {CONN, "upstream bytes with nothing outstanding"},
    [39] = {CONN, "ambiguous or aborted exchange"},
    [40] = {CONN, "Via"},
    [41] = {PARSE | CONN, "Max-Forwards"},
    [42] = {PARSE | CONN, "path and query bytes"},
    [43] = {CONN, "no-transform"},
    [44] = {PARSE | CONN, "Expect"},
    [45] = {CONN, "1xx"},
    [46] = {PARSE | CONN, "Upgrade"},
    [47] = {LATER, "HTTP/2 to HTTP/1.1: there is no HTTP/2 yet"},
    [48] = {CONN, "response without Date"},
    [49] = {CONN, "Host not served here"},
};

#endif
