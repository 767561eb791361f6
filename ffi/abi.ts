// Generated from native/include/sluice by tools/gen.ts (`deno task gen`). Do not edit.
// Constants keep their C names. SL_<STRUCT>_BYTES is sizeof, SL_<STRUCT>_<FIELD>_OFF is offsetof.

export const SL_EVENT_REQUEST = 1;
export const SL_EVENT_BODY = 2;
export const SL_EVENT_WRITABLE = 3;
export const SL_EVENT_ABORT = 4;
export const SL_EVENT_DRAIN = 5;
export const SL_EVENT_ANSWER = 6;
export const SL_EVENT_PROXY_FAILED = 7;
export const SL_EVENT_F_END = 1;
export const SL_EVENT_F_TLS = 2;
export const SL_EVENT_F_IPV6 = 4;
export const SL_EVENT_F_NOT_FOUND = 8;
export const SL_EVENT_F_ABSOLUTE = 16;
export const SL_EVENT_F_UPGRADE = 32;
export const SL_SLOT_TLS_F_RESUMED = 1;
export const SL_SLOT_TLS_F_EARLY = 2;
export const SL_VERDICT_RESPOND = 1;
export const SL_VERDICT_CHUNK = 2;
export const SL_VERDICT_BODY_TAKEN = 3;
export const SL_VERDICT_FAIL = 4;
export const SL_VERDICT_RELEASE = 5;
export const SL_VERDICT_BODY_WANTED = 6;
export const SL_VERDICT_PROXY = 7;
export const SL_VERDICT_FORWARD = 8;
export const SL_VERDICT_F_END = 1;
export const SL_VERDICT_F_FINAL = 2;
export const SL_VERDICT_F_LENGTH = 4;
export const SL_METHOD_OTHER = 0;
export const SL_METHOD_GET = 1;
export const SL_METHOD_HEAD = 2;
export const SL_METHOD_POST = 3;
export const SL_METHOD_PUT = 4;
export const SL_METHOD_DELETE = 5;
export const SL_METHOD_OPTIONS = 6;
export const SL_METHOD_PATCH = 7;
export const SL_METHOD_CONNECT = 8;
export const SL_METHOD_TRACE = 9;
export const SL_METHOD_QUERY = 10;
export const SL_H_OTHER = 0;
export const SL_H_HOST = 1;
export const SL_H_CONTENT_LENGTH = 2;
export const SL_H_TRANSFER_ENCODING = 3;
export const SL_H_CONNECTION = 4;
export const SL_H_KEEP_ALIVE = 5;
export const SL_H_PROXY_CONNECTION = 6;
export const SL_H_TE = 7;
export const SL_H_TRAILER = 8;
export const SL_H_UPGRADE = 9;
export const SL_H_EXPECT = 10;
export const SL_H_VIA = 11;
export const SL_H_FORWARDED = 12;
export const SL_H_X_FORWARDED_FOR = 13;
export const SL_H_X_FORWARDED_HOST = 14;
export const SL_H_X_FORWARDED_PROTO = 15;
export const SL_H_X_REAL_IP = 16;
export const SL_H_ACCEPT = 17;
export const SL_H_ACCEPT_ENCODING = 18;
export const SL_H_ACCEPT_LANGUAGE = 19;
export const SL_H_AUTHORIZATION = 20;
export const SL_H_CACHE_CONTROL = 21;
export const SL_H_CONTENT_TYPE = 22;
export const SL_H_CONTENT_ENCODING = 23;
export const SL_H_COOKIE = 24;
export const SL_H_DATE = 25;
export const SL_H_ETAG = 26;
export const SL_H_IF_MATCH = 27;
export const SL_H_IF_NONE_MATCH = 28;
export const SL_H_IF_MODIFIED_SINCE = 29;
export const SL_H_LOCATION = 30;
export const SL_H_ORIGIN = 31;
export const SL_H_RANGE = 32;
export const SL_H_REFERER = 33;
export const SL_H_SERVER = 34;
export const SL_H_SET_COOKIE = 35;
export const SL_H_USER_AGENT = 36;
export const SL_H_VARY = 37;
export const SL_H_X_REQUEST_ID = 38;
export const SL_H_EARLY_DATA = 39;
export const SL_H_PROXY_AUTHENTICATE = 40;
export const SL_H_PROXY_AUTHORIZATION = 41;
export const SL_H_MAX_FORWARDS = 42;
export const SL_H_COUNT = 43;
export const SL_PLAN_MAGIC = 1313624147;
export const SL_PLAN_VERSION = 4;
export const SL_PLAN_BYTES_MAX = 67108864;
export const SL_PLAN_ENTRIES_MAX = 65536;
export const SL_PLAN_STEPS_MAX = 65536;
export const SL_PLAN_CHAIN_MAX = 16;
export const SL_PLAN_POLICIES_MAX = 8;
export const SL_PLAN_SCRATCH_BYTES = 512;
export const SL_PLAN_NONE = 4294967295;
export const SL_PLAN_EDITS_MAX = 64;
export const SL_PLAN_EDIT_BYTES_MAX = 8192;
export const SL_PLAN_METHOD_ALL = 255;
export const SL_PLAN_FIELDS_MAX = 16384;
export const SL_PLAN_F_NOT_FOUND_NATIVE = 1;
export const SL_PLAN_F_DOTS_PASS = 2;
export const SL_PLAN_F_ALL_TYPESCRIPT = 4;
export const SL_PLAN_F_UNDERSCORES_PASS = 8;
export const SL_PLAN_F_DROPS_SLASH = 16;
export const SL_PLAN_OP_TYPESCRIPT = 0;
export const SL_PLAN_OP_RESPOND = 1;
export const SL_PLAN_OP_PROXY = 2;
export const SL_PLAN_OP_WHOAMI = 3;
export const SL_PLAN_OP_HEADERS = 4;
export const SL_PLAN_OP_POLICY = 16;
export const SL_PLAN_OP_REQUEST_ID = 16;
export const SL_PLAN_OP_IP_RESTRICTION = 17;
export const SL_PLAN_OP_CORS = 18;
export const SL_PLAN_OP_BODY_LIMIT = 19;
export const SL_PLAN_OP_METHOD_NOT_ALLOWED = 20;
export const SL_PLAN_OP_RATE_LIMIT = 32;
export const SL_PLAN_OP_CONCURRENCY_LIMIT = 33;
export const SL_PLAN_OP_TIMEOUT = 34;
export const SL_PLAN_OP_BASIC_AUTH = 35;
export const SL_PLAN_OP_BEARER_AUTH = 36;
export const SL_PLAN_OP_CANARY = 37;
export const SL_PLAN_OP_EARLY_DATA = 40;
export const SL_PLAN_SEG_STATIC = 0;
export const SL_PLAN_SEG_PARAM = 1;
export const SL_PLAN_SEG_REST = 2;
export const SL_PLAN_SEG_CLASS = 3;
export const SL_PLAN_SEG_TAIL = 4;
export const SL_PLAN_EDIT_REMOVE = 0;
export const SL_PLAN_EDIT_SET = 1;
export const SL_PLAN_EDIT_APPEND = 2;
export const SL_PLAN_ID_BYTES_MAX = 255;
export const SL_PLAN_TRUST_NOBODY = 0;
export const SL_PLAN_TRUST_ALL = 1;
export const SL_PLAN_TRUST_SOME = 2;
export const SL_PLAN_KEY_ROUTE = 0;
export const SL_PLAN_KEY_CLIENT_IP = 1;
export const SL_PLAN_KEY_HEADER = 2;
export const SL_PLAN_RATE_DRY_RUN = 1;
export const SL_PLAN_RATE_KEYS_MAX = 16777216;
export const SL_PLAN_RATE_POLICY_NAME = "ratelimit-policy";
export const SL_PLAN_RATE_NAME_MAX = 32;
export const SL_PLAN_CONCURRENCY_KEYS_MAX = 1048576;
export const SL_PLAN_CANARY_SHARES = 10000;
export const SL_PLAN_CANARY_HEADER_VALUE = 1;
export const SL_PLAN_CANARY_COOKIE_VALUE = 2;
export const SL_RING_MAGIC = 1397902919;
export const SL_RING_ABI = 3;
export const SL_RING_PAGE = 4096;
export const SL_RING_ENTRY_BYTES = 64;
export const SL_RING_ENTRIES_PER_SLOT = 8;
export const SL_RING_SLOTS_MIN = 64;
export const SL_RING_SLOTS_MAX = 16384;
export const SL_RING_MAGIC_OFF = 0;
export const SL_RING_ABI_OFF = 4;
export const SL_RING_SLOTS_OFF = 8;
export const SL_RING_EVENT_TAIL_OFF = 128;
export const SL_RING_EVENT_HEAD_OFF = 256;
export const SL_RING_ISOLATE_SLEEPING_OFF = 384;
export const SL_RING_VERDICT_TAIL_OFF = 512;
export const SL_RING_VERDICT_HEAD_OFF = 640;
export const SL_RING_WORKER_SLEEPING_OFF = 768;
export const SL_RING_EVENT_BEGUN_OFF = 896;
export const SL_RING_CLOSED_OFF = 1024;
export const SL_RING_EVENTS_OFF = 4096;
export const SL_SLOT_BYTES = 65536;
export const SL_SLOT_FIELDS_OFF = 0;
export const SL_SLOT_PLAN_OFF = 1536;
export const SL_SLOT_TLS_OFF = 1544;
export const SL_SLOT_HEAD_OFF = 2048;
export const SL_SLOT_HEAD_BYTES = 16384;
export const SL_SLOT_RX_OFF = 18432;
export const SL_SLOT_RX_BYTES = 14336;
export const SL_SLOT_TX_OFF = 32768;
export const SL_SLOT_TX_BYTES = 32768;
export const SL_OK = 0;
export const SL_E_INVALID = -1;
export const SL_E_NO_MEMORY = -2;
export const SL_E_SYSTEM = -3;
export const SL_E_IO_UNAVAILABLE = -4;
export const SL_E_ADDRESS_IN_USE = -5;
export const SL_E_PLAN_INVALID = -6;
export const SL_E_STATE = -7;
export const SL_E_TLS_CONFIG = -8;
export const SL_E_BAD_REQUEST = -20;
export const SL_E_BAD_LINE = -21;
export const SL_E_BAD_FIELD = -22;
export const SL_E_BAD_FRAMING = -23;
export const SL_E_BAD_CHUNK = -24;
export const SL_E_BAD_HOST = -25;
export const SL_E_BAD_PATH = -26;
export const SL_E_BAD_VERSION = -27;
export const SL_E_TARGET_TOO_LONG = -28;
export const SL_E_HEAD_TOO_LARGE = -29;
export const SL_E_TOO_MANY_FIELDS = -30;
export const SL_E_BODY_TOO_LARGE = -31;
export const SL_E_HEAD_TIMEOUT = -32;
export const SL_E_BODY_TIMEOUT = -33;
export const SL_E_METHOD_UNKNOWN = -34;
export const SL_E_CODING_UNKNOWN = -35;
export const SL_E_EXPECTATION = -36;
export const SL_E_LOOP = -37;
export const SL_E_CLIENT_CLOSED = -38;
export const SL_E_IDLE_TIMEOUT = -39;
export const SL_E_WRITE_STALLED = -40;
export const SL_E_TLS_HANDSHAKE = -41;
export const SL_E_TLS_TRUNCATED = -42;
export const SL_E_NOT_FOUND = -43;
export const SL_E_TLS_FAILED = -44;
export const SL_E_MISDIRECTED = -45;
export const SL_E_IP_RESTRICTED = -46;
export const SL_E_RATE_LIMITED = -52;
export const SL_E_UNAUTHORIZED = -53;
export const SL_E_BAD_CREDENTIALS = -54;
export const SL_E_BAD_FRAME = -59;
export const SL_E_TOO_EARLY = -55;
export const SL_E_METHOD_NOT_ALLOWED = -47;
export const SL_E_SHED_EXCHANGES = -60;
export const SL_E_SHED_REQUESTS = -61;
export const SL_E_SHED_CONNS = -62;
export const SL_E_HANDLER = -63;
export const SL_E_HANDLER_TIMEOUT = -64;
export const SL_E_ISOLATE_GONE = -65;
export const SL_E_DRAINING = -66;
export const SL_E_SHED_NOT_FOUND = -67;
export const SL_E_SHED_HEADS = -68;
export const SL_E_SHED_ADDRESS = -69;
export const SL_E_SHED_CONCURRENCY = -72;
export const SL_E_TIMEOUT = -73;
export const SL_E_UPSTREAM_REFUSED = -80;
export const SL_E_UPSTREAM_RESET = -81;
export const SL_E_UPSTREAM_BAD = -82;
export const SL_E_UPSTREAM_CONNECT_TIMEOUT = -83;
export const SL_E_UPSTREAM_TIMEOUT = -84;
export const SL_E_UPSTREAM_FULL = -85;
export const SL_E_UPSTREAM_CUT = -86;
export const SL_E_UPSTREAM_BAD_BODY = -87;
export const SL_E_UPSTREAM_IDLE_TIMEOUT = -88;
export const SL_E_UPSTREAM_STALLED = -89;
export const SL_SOURCE_NONE = 0;
export const SL_SOURCE_CLIENT = 1;
export const SL_SOURCE_UPSTREAM = 2;
export const SL_SOURCE_GATEWAY = 3;
export const SL_STATUS_SLOTS = 96;
export const SL_VERSION = "0.1.0";
export const SL_GATEWAYS_MAX = 64;
export const SL_WORKERS_MAX = 64;
export const SL_ISOLATES_MAX = 32;
export const SL_LISTENERS_MAX = 64;
export const SL_CERTIFICATES_MAX = 64;
export const SL_SET_NEW = 4294967295;
export const SL_IO_AUTO = 0;
export const SL_IO_URING = 1;
export const SL_IO_EPOLL = 2;
export const SL_IO_SIM = 3;
export const SL_LOG_OFF = 0;
export const SL_LOG_TEXT = 1;
export const SL_LOG_JSON = 2;
export const SL_ISOLATE_RETIRED = 0;
export const SL_ISOLATE_CRASHED = 1;
export const SL_ISOLATE_BLOCKED = 2;
export const SL_SEAT_EMPTY = 0;
export const SL_SEAT_IDLE = 1;
export const SL_SEAT_BUSY = 2;
export const SL_WARMING = 0;
export const SL_ACTIVE = 1;
export const SL_DRAINING = 2;
export const SL_CLOSED = 3;
export const SL_STEKS_GIVEN = 4294967295;
export const SL_RESUMPTION_OFF = 0;
export const SL_RESUMPTION_STATELESS = 1;
export const SL_RESUMPTION_ONCE = 2;
export const SL_RESUMPTION_SEALED = 3;
export const SL_GROUPS_MAX = 6;
export const SL_CLIENT_AUTH_OFF = 0;
export const SL_CLIENT_AUTH_OPTIONAL = 1;
export const SL_CLIENT_AUTH_REQUIRED = 2;
export const SL_TLS_OTHER = 0;
export const SL_TLS_SILENT = 1;
export const SL_TLS_LEFT = 2;
export const SL_TLS_CLOSED = 3;
export const SL_TLS_TIMEOUT = 4;
export const SL_TLS_PLAIN_TEXT = 5;
export const SL_TLS_PLAIN_HTTP = 6;
export const SL_TLS_PLAIN_CONNECT = 7;
export const SL_TLS_NO_TLS = 8;
export const SL_TLS_VERSION = 9;
export const SL_TLS_VERSION_POLICY = 10;
export const SL_TLS_FALLBACK = 11;
export const SL_TLS_CIPHER = 12;
export const SL_TLS_GROUP = 13;
export const SL_TLS_SIGNATURE = 14;
export const SL_TLS_CERTIFICATE_TYPE = 15;
export const SL_TLS_ALPN = 16;
export const SL_TLS_CLIENT_CERTIFICATE_MISSING = 17;
export const SL_TLS_CLIENT_CERTIFICATE = 18;
export const SL_TLS_CLIENT_SIGNATURE = 19;
export const SL_TLS_RECORD_CHANGED = 20;
export const SL_TLS_RECORD_SHORT = 21;
export const SL_TLS_RENEGOTIATION = 22;
export const SL_TLS_KEY_UPDATES = 23;
export const SL_TLS_EMPTY_RECORDS = 24;
export const SL_TLS_WARNINGS = 25;
export const SL_TLS_ALERT_HANDSHAKE_FAILURE = 26;
export const SL_TLS_ALERT_BAD_CERTIFICATE = 27;
export const SL_TLS_ALERT_UNSUPPORTED_CERTIFICATE = 28;
export const SL_TLS_ALERT_CERTIFICATE_REVOKED = 29;
export const SL_TLS_ALERT_CERTIFICATE_EXPIRED = 30;
export const SL_TLS_ALERT_CERTIFICATE_UNKNOWN = 31;
export const SL_TLS_ALERT_UNKNOWN_CA = 32;
export const SL_TLS_ALERT_PROTOCOL_VERSION = 33;
export const SL_TLS_ALERT_USER_CANCELLED = 34;
export const SL_TLS_REASON_COUNT = 35;
export const SL_TLS_REASON_SLOTS = 48;

export const SL_CONFIG_BYTES = 160;
export const SL_CONFIG_IO_OFF = 0;
export const SL_CONFIG_WORKERS_OFF = 4;
export const SL_CONFIG_ISOLATES_OFF = 8;
export const SL_CONFIG_EXCHANGES_OFF = 12;
export const SL_CONFIG_CONNS_MAX_OFF = 16;
export const SL_CONFIG_REQUESTS_MAX_OFF = 20;
export const SL_CONFIG_HEAD_BYTES_MAX_OFF = 24;
export const SL_CONFIG_LINE_BYTES_MAX_OFF = 28;
export const SL_CONFIG_FIELDS_MAX_OFF = 32;
export const SL_CONFIG_HEAD_TIMEOUT_MS_OFF = 36;
export const SL_CONFIG_BODY_TIMEOUT_MS_OFF = 40;
export const SL_CONFIG_IDLE_TIMEOUT_MS_OFF = 44;
export const SL_CONFIG_WRITE_STALL_MS_OFF = 48;
export const SL_CONFIG_HANDLER_TIMEOUT_MS_OFF = 52;
export const SL_CONFIG_LINGER_MS_OFF = 56;
export const SL_CONFIG_BODY_BYTES_MAX_OFF = 60;
export const SL_CONFIG_PIPELINE_BYTES_MAX_OFF = 64;
export const SL_CONFIG_HIGH_WATERMARK_BYTES_OFF = 68;
export const SL_CONFIG_LOW_WATERMARK_BYTES_OFF = 72;
export const SL_CONFIG_REQUESTS_PER_CONN_MAX_OFF = 76;
export const SL_CONFIG_NOT_FOUND_MAX_OFF = 80;
export const SL_CONFIG_BACKLOG_OFF = 84;
export const SL_CONFIG_LOG_OFF = 88;
export const SL_CONFIG_LARGE_BUFS_OFF = 92;
export const SL_CONFIG_SMALL_BUFS_OFF = 96;
export const SL_CONFIG_CONN_AGE_MS_OFF = 100;
export const SL_CONFIG_PREFAULT_OFF = 104;
export const SL_CONFIG_BODY_BYTES_PER_SECOND_MIN_OFF = 108;
export const SL_CONFIG_BODY_GRACE_MS_OFF = 112;
export const SL_CONFIG_WRITE_BYTES_PER_SECOND_MIN_OFF = 116;
export const SL_CONFIG_PIPELINE_REQUESTS_MAX_OFF = 120;
export const SL_CONFIG_LINGER_BYTES_MAX_OFF = 124;
export const SL_CONFIG_CONNS_PER_ADDRESS_MAX_OFF = 128;
export const SL_CONFIG_STEK_ROTATION_MS_OFF = 132;
export const SL_CONFIG_STEKS_KEPT_OFF = 136;
export const SL_CONFIG_EARLY_WINDOW_MS_OFF = 140;
export const SL_CONFIG_TICKET_SET_BYTES_OFF = 144;
export const SL_CONFIG_SEALED_BYTES_OFF = 148;
export const SL_CONFIG_RESERVED_OFF = 152;
export const SL_RESUMPTION_BYTES = 64;
export const SL_RESUMPTION_MODE_OFF = 0;
export const SL_RESUMPTION_TICKETS_OFF = 4;
export const SL_RESUMPTION_TICKET_LIFETIME_S_OFF = 8;
export const SL_RESUMPTION_EARLY_DATA_OFF = 12;
export const SL_RESUMPTION_EARLY_WINDOW_S_OFF = 16;
export const SL_RESUMPTION_EARLY_AGE_SKEW_MS_OFF = 20;
export const SL_RESUMPTION_EARLY_METHODS_OFF = 24;
export const SL_RESUMPTION_EARLY_BYTES_MAX_OFF = 28;
export const SL_RESUMPTION_TENANT_OFF = 32;
export const SL_HANDSHAKE_BYTES = 36;
export const SL_HANDSHAKE_VERSION_MIN_OFF = 0;
export const SL_HANDSHAKE_GROUP_COUNT_OFF = 4;
export const SL_HANDSHAKE_GROUPS_OFF = 8;
export const SL_HANDSHAKE_ALPN_OFF_OFF = 32;
export const SL_STEK_GIVEN_BYTES = 40;
export const SL_STEK_GIVEN_NOT_BEFORE_MS_OFF = 0;
export const SL_STEK_GIVEN_KEY_OFF = 8;
export const SL_FIELD_BYTES = 12;
export const SL_FIELD_NAME_OFF_OFF = 0;
export const SL_FIELD_NAME_LEN_OFF = 2;
export const SL_FIELD_VALUE_OFF_OFF = 4;
export const SL_FIELD_VALUE_LEN_OFF = 6;
export const SL_FIELD_ID_OFF = 8;
export const SL_FIELD_FLAGS_OFF = 9;
export const SL_FIELD_NEXT_SAME_OFF = 10;
export const SL_EVENT_BYTES = 64;
export const SL_EVENT_KIND_OFF = 0;
export const SL_EVENT_FLAGS_OFF = 1;
export const SL_EVENT_METHOD_OFF = 2;
export const SL_EVENT_VERSION_OFF = 3;
export const SL_EVENT_SLOT_OFF = 4;
export const SL_EVENT_GEN_OFF = 8;
export const SL_EVENT_LEN_OFF = 12;
export const SL_EVENT_FIELD_COUNT_OFF = 16;
export const SL_EVENT_STEPS_DONE_OFF = 17;
export const SL_EVENT_METHOD_LEN_OFF = 18;
export const SL_EVENT_TARGET_OFF_OFF = 20;
export const SL_EVENT_TARGET_LEN_OFF = 22;
export const SL_EVENT_PATH_OFF_OFF = 24;
export const SL_EVENT_PATH_LEN_OFF = 26;
export const SL_EVENT_QUERY_OFF_OFF = 28;
export const SL_EVENT_QUERY_LEN_OFF = 30;
export const SL_EVENT_HOST_OFF_OFF = 32;
export const SL_EVENT_HOST_LEN_OFF = 34;
export const SL_EVENT_LOCAL_PORT_OFF = 36;
export const SL_EVENT_REMOTE_PORT_OFF = 38;
export const SL_EVENT_CONTENT_LENGTH_OFF = 40;
export const SL_EVENT_REMOTE_ADDR_OFF = 48;
export const SL_SLOT_TLS_BYTES = 316;
export const SL_SLOT_TLS_VERSION_OFF = 0;
export const SL_SLOT_TLS_CIPHER_OFF = 2;
export const SL_SLOT_TLS_GROUP_OFF = 4;
export const SL_SLOT_TLS_FLAGS_OFF = 6;
export const SL_SLOT_TLS_ALPN_LEN_OFF = 7;
export const SL_SLOT_TLS_SNI_LEN_OFF = 8;
export const SL_SLOT_TLS_RESERVED_OFF = 9;
export const SL_SLOT_TLS_CLIENT_LEN_OFF = 10;
export const SL_SLOT_TLS_CLIENT_SHA256_OFF = 12;
export const SL_SLOT_TLS_TEXT_OFF = 44;
export const SL_VERDICT_BYTES = 64;
export const SL_VERDICT_KIND_OFF = 0;
export const SL_VERDICT_FLAGS_OFF = 1;
export const SL_VERDICT_STATUS_OFF = 2;
export const SL_VERDICT_SLOT_OFF = 4;
export const SL_VERDICT_GEN_OFF = 8;
export const SL_VERDICT_HEAD_LEN_OFF = 12;
export const SL_VERDICT_BODY_OFF_OFF = 16;
export const SL_VERDICT_BODY_LEN_OFF = 20;
export const SL_VERDICT_CONTENT_LENGTH_OFF = 24;
export const SL_VERDICT_STEPS_FAILED_OFF = 32;
export const SL_VERDICT_RESERVED_OFF = 36;
export const SL_PLAN_HEADER_BYTES = 96;
export const SL_PLAN_HEADER_MAGIC_OFF = 0;
export const SL_PLAN_HEADER_VERSION_OFF = 4;
export const SL_PLAN_HEADER_BYTES_OFF = 8;
export const SL_PLAN_HEADER_FLAGS_OFF = 12;
export const SL_PLAN_HEADER_ENTRIES_OFF_OFF = 16;
export const SL_PLAN_HEADER_ENTRY_COUNT_OFF = 20;
export const SL_PLAN_HEADER_SEGS_OFF_OFF = 24;
export const SL_PLAN_HEADER_SEG_COUNT_OFF = 28;
export const SL_PLAN_HEADER_STEPS_OFF_OFF = 32;
export const SL_PLAN_HEADER_STEP_COUNT_OFF = 36;
export const SL_PLAN_HEADER_RESPONDS_OFF_OFF = 40;
export const SL_PLAN_HEADER_RESPOND_COUNT_OFF = 44;
export const SL_PLAN_HEADER_UPSTREAMS_OFF_OFF = 48;
export const SL_PLAN_HEADER_UPSTREAM_COUNT_OFF = 52;
export const SL_PLAN_HEADER_HEADERS_OFF_OFF = 56;
export const SL_PLAN_HEADER_HEADER_COUNT_OFF = 60;
export const SL_PLAN_HEADER_EDITS_OFF_OFF = 64;
export const SL_PLAN_HEADER_EDIT_COUNT_OFF = 68;
export const SL_PLAN_HEADER_VIA_OFF_OFF = 72;
export const SL_PLAN_HEADER_VIA_LEN_OFF = 76;
export const SL_PLAN_HEADER_ID_OFF = 80;
export const SL_PLAN_HEADER_POLICIES_OFF_OFF = 84;
export const SL_PLAN_HEADER_POLICY_COUNT_OFF = 88;
export const SL_PLAN_HEADER_ISOLATES_OFF = 92;
export const SL_PLAN_ENTRY_BYTES = 24;
export const SL_PLAN_ENTRY_METHOD_OFF = 0;
export const SL_PLAN_ENTRY_SEG_COUNT_OFF = 1;
export const SL_PLAN_ENTRY_STEP_COUNT_OFF = 2;
export const SL_PLAN_ENTRY_RESERVED0_OFF = 3;
export const SL_PLAN_ENTRY_SEG_FIRST_OFF = 4;
export const SL_PLAN_ENTRY_STEP_FIRST_OFF = 8;
export const SL_PLAN_ENTRY_METHOD_OFF_OFF = 12;
export const SL_PLAN_ENTRY_METHOD_LEN_OFF = 16;
export const SL_PLAN_ENTRY_RESERVED1_OFF = 20;
export const SL_PLAN_STEP_BYTES = 16;
export const SL_PLAN_STEP_OP_OFF = 0;
export const SL_PLAN_STEP_RESERVED0_OFF = 1;
export const SL_PLAN_STEP_RESERVED1_OFF = 2;
export const SL_PLAN_STEP_ARG_OFF = 4;
export const SL_PLAN_STEP_ROUTE_OFF = 8;
export const SL_PLAN_STEP_RESERVED2_OFF = 12;
export const SL_PLAN_SEG_BYTES = 8;
export const SL_PLAN_SEG_KIND_OFF = 0;
export const SL_PLAN_SEG_RESERVED_OFF = 1;
export const SL_PLAN_SEG_LEN_OFF = 2;
export const SL_PLAN_SEG_OFF_OFF = 4;
export const SL_PLAN_CLASS_BYTES = 24;
export const SL_PLAN_CLASS_SET_OFF = 0;
export const SL_PLAN_CLASS_MIN_OFF = 16;
export const SL_PLAN_CLASS_MAX_OFF = 20;
export const SL_PLAN_RESPOND_BYTES = 24;
export const SL_PLAN_RESPOND_STATUS_OFF = 0;
export const SL_PLAN_RESPOND_RESERVED_OFF = 2;
export const SL_PLAN_RESPOND_FIELDS_OFF_OFF = 4;
export const SL_PLAN_RESPOND_FIELDS_LEN_OFF = 8;
export const SL_PLAN_RESPOND_BODY_OFF_OFF = 12;
export const SL_PLAN_RESPOND_BODY_LEN_OFF = 16;
export const SL_PLAN_RESPOND_RESERVED1_OFF = 20;
export const SL_PLAN_UPSTREAM_BYTES = 56;
export const SL_PLAN_UPSTREAM_FAMILY_OFF = 0;
export const SL_PLAN_UPSTREAM_EARLY_DATA_OFF = 1;
export const SL_PLAN_UPSTREAM_PORT_OFF = 2;
export const SL_PLAN_UPSTREAM_ADDR_OFF = 4;
export const SL_PLAN_UPSTREAM_NAME_OFF_OFF = 20;
export const SL_PLAN_UPSTREAM_NAME_LEN_OFF = 24;
export const SL_PLAN_UPSTREAM_CONNS_MAX_OFF = 28;
export const SL_PLAN_UPSTREAM_IDLE_MAX_OFF = 32;
export const SL_PLAN_UPSTREAM_CONNECT_TIMEOUT_MS_OFF = 36;
export const SL_PLAN_UPSTREAM_HEAD_TIMEOUT_MS_OFF = 40;
export const SL_PLAN_UPSTREAM_IDLE_TIMEOUT_MS_OFF = 44;
export const SL_PLAN_UPSTREAM_ID_OFF = 48;
export const SL_PLAN_UPSTREAM_TUNNEL_IDLE_TIMEOUT_MS_OFF = 52;
export const SL_PLAN_HEADERS_BYTES = 24;
export const SL_PLAN_HEADERS_REQUEST_FIRST_OFF = 0;
export const SL_PLAN_HEADERS_REQUEST_COUNT_OFF = 4;
export const SL_PLAN_HEADERS_RESPONSE_FIRST_OFF = 8;
export const SL_PLAN_HEADERS_RESPONSE_COUNT_OFF = 12;
export const SL_PLAN_HEADERS_REQUEST_BYTES_OFF = 16;
export const SL_PLAN_HEADERS_RESPONSE_BYTES_OFF = 20;
export const SL_PLAN_EDIT_BYTES = 16;
export const SL_PLAN_EDIT_KIND_OFF = 0;
export const SL_PLAN_EDIT_LAST_OFF = 1;
export const SL_PLAN_EDIT_NAME_LEN_OFF = 2;
export const SL_PLAN_EDIT_OFF_OFF = 4;
export const SL_PLAN_EDIT_LEN_OFF = 8;
export const SL_PLAN_EDIT_BIT_OFF = 12;
export const SL_PLAN_POLICY_BYTES = 32;
export const SL_PLAN_POLICY_OP_OFF = 0;
export const SL_PLAN_POLICY_RESERVED0_OFF = 1;
export const SL_PLAN_POLICY_REQUEST_BYTES_OFF = 2;
export const SL_PLAN_POLICY_RESPONSE_BYTES_OFF = 4;
export const SL_PLAN_POLICY_SCRATCH_BYTES_OFF = 6;
export const SL_PLAN_POLICY_RECORD_OFF_OFF = 8;
export const SL_PLAN_POLICY_RECORD_LEN_OFF = 12;
export const SL_PLAN_POLICY_RESPOND_OFF = 16;
export const SL_PLAN_POLICY_UPSTREAM_OFF = 20;
export const SL_PLAN_POLICY_IDENTITY_OFF = 24;
export const SL_PLAN_POLICY_RESERVED1_OFF = 28;
export const SL_PLAN_RANGE_BYTES = 32;
export const SL_PLAN_RANGE_FIRST_OFF = 0;
export const SL_PLAN_RANGE_LAST_OFF = 16;
export const SL_PLAN_REQUEST_ID_BYTES = 16;
export const SL_PLAN_REQUEST_ID_TRUST_OFF = 0;
export const SL_PLAN_REQUEST_ID_ID_BYTES_MAX_OFF = 1;
export const SL_PLAN_REQUEST_ID_NAME_LEN_OFF = 2;
export const SL_PLAN_REQUEST_ID_NAME_OFF_OFF = 4;
export const SL_PLAN_REQUEST_ID_TRUSTED_OFF_OFF = 8;
export const SL_PLAN_REQUEST_ID_TRUSTED_COUNT_OFF = 12;
export const SL_PLAN_CLIENT_BYTES = 16;
export const SL_PLAN_CLIENT_PROXIES_OFF_OFF = 0;
export const SL_PLAN_CLIENT_PROXIES_COUNT_OFF = 4;
export const SL_PLAN_CLIENT_FORWARDED_OFF = 8;
export const SL_PLAN_CLIENT_RESERVED_OFF = 12;
export const SL_PLAN_IP_RESTRICTION_BYTES = 32;
export const SL_PLAN_IP_RESTRICTION_CLIENT_OFF = 0;
export const SL_PLAN_IP_RESTRICTION_DENY_OFF_OFF = 16;
export const SL_PLAN_IP_RESTRICTION_DENY_COUNT_OFF = 20;
export const SL_PLAN_IP_RESTRICTION_ALLOW_OFF_OFF = 24;
export const SL_PLAN_IP_RESTRICTION_ALLOW_COUNT_OFF = 28;
export const SL_PLAN_CORS_ORIGIN_BYTES = 12;
export const SL_PLAN_CORS_ORIGIN_OFF_OFF = 0;
export const SL_PLAN_CORS_ORIGIN_LEN_OFF = 4;
export const SL_PLAN_CORS_ORIGIN_HEADERS_OFF = 8;
export const SL_PLAN_CORS_BYTES = 32;
export const SL_PLAN_CORS_ORIGINS_OFF_OFF = 0;
export const SL_PLAN_CORS_ORIGINS_COUNT_OFF = 4;
export const SL_PLAN_CORS_OTHERWISE_OFF = 8;
export const SL_PLAN_CORS_PREFLIGHT_OFF_OFF = 12;
export const SL_PLAN_CORS_PREFLIGHT_LEN_OFF = 16;
export const SL_PLAN_CORS_VARY_LAST_OFF = 20;
export const SL_PLAN_CORS_REFLECTS_OFF = 21;
export const SL_PLAN_CORS_RESERVED0_OFF = 22;
export const SL_PLAN_CORS_RESERVED1_OFF = 24;
export const SL_PLAN_CORS_RESERVED2_OFF = 28;
export const SL_PLAN_BODY_LIMIT_BYTES = 8;
export const SL_PLAN_BODY_LIMIT_BYTES_MAX_OFF = 0;
export const SL_PLAN_ALLOWED_BYTES = 12;
export const SL_PLAN_ALLOWED_ENTRY_OFF = 0;
export const SL_PLAN_ALLOWED_OFF_OFF = 4;
export const SL_PLAN_ALLOWED_LEN_OFF = 8;
export const SL_PLAN_METHOD_NOT_ALLOWED_BYTES = 8;
export const SL_PLAN_METHOD_NOT_ALLOWED_ROWS_OFF_OFF = 0;
export const SL_PLAN_METHOD_NOT_ALLOWED_ROWS_COUNT_OFF = 4;
export const SL_PLAN_EARLY_DATA_BYTES = 8;
export const SL_PLAN_EARLY_DATA_REFUSE_OFF = 0;
export const SL_PLAN_EARLY_DATA_RESERVED_OFF = 4;
export const SL_PLAN_TEXT_BYTES = 8;
export const SL_PLAN_TEXT_OFF_OFF = 0;
export const SL_PLAN_TEXT_LEN_OFF = 4;
export const SL_PLAN_KEY_BYTES = 24;
export const SL_PLAN_KEY_KIND_OFF = 0;
export const SL_PLAN_KEY_RESERVED_OFF = 1;
export const SL_PLAN_KEY_NAME_LEN_OFF = 2;
export const SL_PLAN_KEY_NAME_OFF_OFF = 4;
export const SL_PLAN_KEY_CLIENT_OFF = 8;
export const SL_PLAN_RATE_LIMIT_BYTES = 64;
export const SL_PLAN_RATE_LIMIT_KEY_OFF = 0;
export const SL_PLAN_RATE_LIMIT_INTERVAL_US_OFF = 24;
export const SL_PLAN_RATE_LIMIT_BURST_OFF = 32;
export const SL_PLAN_RATE_LIMIT_KEYS_MAX_OFF = 36;
export const SL_PLAN_RATE_LIMIT_FLAGS_OFF = 40;
export const SL_PLAN_RATE_LIMIT_POLICY_OFF_OFF = 44;
export const SL_PLAN_RATE_LIMIT_POLICY_LEN_OFF = 48;
export const SL_PLAN_RATE_LIMIT_NAME_OFF_OFF = 52;
export const SL_PLAN_RATE_LIMIT_NAME_LEN_OFF = 56;
export const SL_PLAN_RATE_LIMIT_RESERVED_OFF = 60;
export const SL_PLAN_CONCURRENCY_LIMIT_BYTES = 32;
export const SL_PLAN_CONCURRENCY_LIMIT_KEY_OFF = 0;
export const SL_PLAN_CONCURRENCY_LIMIT_MAX_OFF = 24;
export const SL_PLAN_CONCURRENCY_LIMIT_KEYS_MAX_OFF = 28;
export const SL_PLAN_TIMEOUT_BYTES = 8;
export const SL_PLAN_TIMEOUT_MS_OFF = 0;
export const SL_PLAN_TIMEOUT_RESERVED_OFF = 4;
export const SL_PLAN_USER_BYTES = 16;
export const SL_PLAN_USER_NAME_OFF = 0;
export const SL_PLAN_USER_PASSWORD_OFF = 8;
export const SL_PLAN_BASIC_AUTH_BYTES = 8;
export const SL_PLAN_BASIC_AUTH_USERS_OFF_OFF = 0;
export const SL_PLAN_BASIC_AUTH_USER_COUNT_OFF = 4;
export const SL_PLAN_BEARER_AUTH_BYTES = 32;
export const SL_PLAN_BEARER_AUTH_NAME_OFF = 0;
export const SL_PLAN_BEARER_AUTH_PREFIX_OFF = 8;
export const SL_PLAN_BEARER_AUTH_TOKENS_OFF_OFF = 16;
export const SL_PLAN_BEARER_AUTH_TOKEN_COUNT_OFF = 20;
export const SL_PLAN_BEARER_AUTH_MISSING_OFF = 24;
export const SL_PLAN_BEARER_AUTH_MALFORMED_OFF = 28;
export const SL_PLAN_CANARY_BYTES = 64;
export const SL_PLAN_CANARY_HEADER_OFF = 0;
export const SL_PLAN_CANARY_HEADER_VALUE_OFF = 8;
export const SL_PLAN_CANARY_COOKIE_OFF = 16;
export const SL_PLAN_CANARY_COOKIE_VALUE_OFF = 24;
export const SL_PLAN_CANARY_STICKY_OFF = 32;
export const SL_PLAN_CANARY_CLIENT_OFF = 40;
export const SL_PLAN_CANARY_SHARES_OFF = 56;
export const SL_PLAN_CANARY_FLAGS_OFF = 60;

/** What sl_abi of the library must report, word by word. */
export const ABI: readonly (readonly [name: string, value: number])[] = [
  ["SL_CONFIG_BYTES", 160],
  ["SL_CONFIG_IO_OFF", 0],
  ["SL_CONFIG_WORKERS_OFF", 4],
  ["SL_CONFIG_ISOLATES_OFF", 8],
  ["SL_CONFIG_EXCHANGES_OFF", 12],
  ["SL_CONFIG_CONNS_MAX_OFF", 16],
  ["SL_CONFIG_REQUESTS_MAX_OFF", 20],
  ["SL_CONFIG_HEAD_BYTES_MAX_OFF", 24],
  ["SL_CONFIG_LINE_BYTES_MAX_OFF", 28],
  ["SL_CONFIG_FIELDS_MAX_OFF", 32],
  ["SL_CONFIG_HEAD_TIMEOUT_MS_OFF", 36],
  ["SL_CONFIG_BODY_TIMEOUT_MS_OFF", 40],
  ["SL_CONFIG_IDLE_TIMEOUT_MS_OFF", 44],
  ["SL_CONFIG_WRITE_STALL_MS_OFF", 48],
  ["SL_CONFIG_HANDLER_TIMEOUT_MS_OFF", 52],
  ["SL_CONFIG_LINGER_MS_OFF", 56],
  ["SL_CONFIG_BODY_BYTES_MAX_OFF", 60],
  ["SL_CONFIG_PIPELINE_BYTES_MAX_OFF", 64],
  ["SL_CONFIG_HIGH_WATERMARK_BYTES_OFF", 68],
  ["SL_CONFIG_LOW_WATERMARK_BYTES_OFF", 72],
  ["SL_CONFIG_REQUESTS_PER_CONN_MAX_OFF", 76],
  ["SL_CONFIG_NOT_FOUND_MAX_OFF", 80],
  ["SL_CONFIG_BACKLOG_OFF", 84],
  ["SL_CONFIG_LOG_OFF", 88],
  ["SL_CONFIG_LARGE_BUFS_OFF", 92],
  ["SL_CONFIG_SMALL_BUFS_OFF", 96],
  ["SL_CONFIG_CONN_AGE_MS_OFF", 100],
  ["SL_CONFIG_PREFAULT_OFF", 104],
  ["SL_CONFIG_BODY_BYTES_PER_SECOND_MIN_OFF", 108],
  ["SL_CONFIG_BODY_GRACE_MS_OFF", 112],
  ["SL_CONFIG_WRITE_BYTES_PER_SECOND_MIN_OFF", 116],
  ["SL_CONFIG_PIPELINE_REQUESTS_MAX_OFF", 120],
  ["SL_CONFIG_LINGER_BYTES_MAX_OFF", 124],
  ["SL_CONFIG_CONNS_PER_ADDRESS_MAX_OFF", 128],
  ["SL_CONFIG_STEK_ROTATION_MS_OFF", 132],
  ["SL_CONFIG_STEKS_KEPT_OFF", 136],
  ["SL_CONFIG_EARLY_WINDOW_MS_OFF", 140],
  ["SL_CONFIG_TICKET_SET_BYTES_OFF", 144],
  ["SL_CONFIG_SEALED_BYTES_OFF", 148],
  ["SL_CONFIG_RESERVED_OFF", 152],
  ["SL_RESUMPTION_BYTES", 64],
  ["SL_RESUMPTION_MODE_OFF", 0],
  ["SL_RESUMPTION_TICKETS_OFF", 4],
  ["SL_RESUMPTION_TICKET_LIFETIME_S_OFF", 8],
  ["SL_RESUMPTION_EARLY_DATA_OFF", 12],
  ["SL_RESUMPTION_EARLY_WINDOW_S_OFF", 16],
  ["SL_RESUMPTION_EARLY_AGE_SKEW_MS_OFF", 20],
  ["SL_RESUMPTION_EARLY_METHODS_OFF", 24],
  ["SL_RESUMPTION_EARLY_BYTES_MAX_OFF", 28],
  ["SL_RESUMPTION_TENANT_OFF", 32],
  ["SL_HANDSHAKE_BYTES", 36],
  ["SL_HANDSHAKE_VERSION_MIN_OFF", 0],
  ["SL_HANDSHAKE_GROUP_COUNT_OFF", 4],
  ["SL_HANDSHAKE_GROUPS_OFF", 8],
  ["SL_HANDSHAKE_ALPN_OFF_OFF", 32],
  ["SL_STEK_GIVEN_BYTES", 40],
  ["SL_STEK_GIVEN_NOT_BEFORE_MS_OFF", 0],
  ["SL_STEK_GIVEN_KEY_OFF", 8],
  ["SL_FIELD_BYTES", 12],
  ["SL_FIELD_NAME_OFF_OFF", 0],
  ["SL_FIELD_NAME_LEN_OFF", 2],
  ["SL_FIELD_VALUE_OFF_OFF", 4],
  ["SL_FIELD_VALUE_LEN_OFF", 6],
  ["SL_FIELD_ID_OFF", 8],
  ["SL_FIELD_FLAGS_OFF", 9],
  ["SL_FIELD_NEXT_SAME_OFF", 10],
  ["SL_EVENT_BYTES", 64],
  ["SL_EVENT_KIND_OFF", 0],
  ["SL_EVENT_FLAGS_OFF", 1],
  ["SL_EVENT_METHOD_OFF", 2],
  ["SL_EVENT_VERSION_OFF", 3],
  ["SL_EVENT_SLOT_OFF", 4],
  ["SL_EVENT_GEN_OFF", 8],
  ["SL_EVENT_LEN_OFF", 12],
  ["SL_EVENT_FIELD_COUNT_OFF", 16],
  ["SL_EVENT_STEPS_DONE_OFF", 17],
  ["SL_EVENT_METHOD_LEN_OFF", 18],
  ["SL_EVENT_TARGET_OFF_OFF", 20],
  ["SL_EVENT_TARGET_LEN_OFF", 22],
  ["SL_EVENT_PATH_OFF_OFF", 24],
  ["SL_EVENT_PATH_LEN_OFF", 26],
  ["SL_EVENT_QUERY_OFF_OFF", 28],
  ["SL_EVENT_QUERY_LEN_OFF", 30],
  ["SL_EVENT_HOST_OFF_OFF", 32],
  ["SL_EVENT_HOST_LEN_OFF", 34],
  ["SL_EVENT_LOCAL_PORT_OFF", 36],
  ["SL_EVENT_REMOTE_PORT_OFF", 38],
  ["SL_EVENT_CONTENT_LENGTH_OFF", 40],
  ["SL_EVENT_REMOTE_ADDR_OFF", 48],
  ["SL_SLOT_TLS_BYTES", 316],
  ["SL_SLOT_TLS_VERSION_OFF", 0],
  ["SL_SLOT_TLS_CIPHER_OFF", 2],
  ["SL_SLOT_TLS_GROUP_OFF", 4],
  ["SL_SLOT_TLS_FLAGS_OFF", 6],
  ["SL_SLOT_TLS_ALPN_LEN_OFF", 7],
  ["SL_SLOT_TLS_SNI_LEN_OFF", 8],
  ["SL_SLOT_TLS_RESERVED_OFF", 9],
  ["SL_SLOT_TLS_CLIENT_LEN_OFF", 10],
  ["SL_SLOT_TLS_CLIENT_SHA256_OFF", 12],
  ["SL_SLOT_TLS_TEXT_OFF", 44],
  ["SL_VERDICT_BYTES", 64],
  ["SL_VERDICT_KIND_OFF", 0],
  ["SL_VERDICT_FLAGS_OFF", 1],
  ["SL_VERDICT_STATUS_OFF", 2],
  ["SL_VERDICT_SLOT_OFF", 4],
  ["SL_VERDICT_GEN_OFF", 8],
  ["SL_VERDICT_HEAD_LEN_OFF", 12],
  ["SL_VERDICT_BODY_OFF_OFF", 16],
  ["SL_VERDICT_BODY_LEN_OFF", 20],
  ["SL_VERDICT_CONTENT_LENGTH_OFF", 24],
  ["SL_VERDICT_STEPS_FAILED_OFF", 32],
  ["SL_VERDICT_RESERVED_OFF", 36],
  ["SL_PLAN_HEADER_BYTES", 96],
  ["SL_PLAN_HEADER_MAGIC_OFF", 0],
  ["SL_PLAN_HEADER_VERSION_OFF", 4],
  ["SL_PLAN_HEADER_BYTES_OFF", 8],
  ["SL_PLAN_HEADER_FLAGS_OFF", 12],
  ["SL_PLAN_HEADER_ENTRIES_OFF_OFF", 16],
  ["SL_PLAN_HEADER_ENTRY_COUNT_OFF", 20],
  ["SL_PLAN_HEADER_SEGS_OFF_OFF", 24],
  ["SL_PLAN_HEADER_SEG_COUNT_OFF", 28],
  ["SL_PLAN_HEADER_STEPS_OFF_OFF", 32],
  ["SL_PLAN_HEADER_STEP_COUNT_OFF", 36],
  ["SL_PLAN_HEADER_RESPONDS_OFF_OFF", 40],
  ["SL_PLAN_HEADER_RESPOND_COUNT_OFF", 44],
  ["SL_PLAN_HEADER_UPSTREAMS_OFF_OFF", 48],
  ["SL_PLAN_HEADER_UPSTREAM_COUNT_OFF", 52],
  ["SL_PLAN_HEADER_HEADERS_OFF_OFF", 56],
  ["SL_PLAN_HEADER_HEADER_COUNT_OFF", 60],
  ["SL_PLAN_HEADER_EDITS_OFF_OFF", 64],
  ["SL_PLAN_HEADER_EDIT_COUNT_OFF", 68],
  ["SL_PLAN_HEADER_VIA_OFF_OFF", 72],
  ["SL_PLAN_HEADER_VIA_LEN_OFF", 76],
  ["SL_PLAN_HEADER_ID_OFF", 80],
  ["SL_PLAN_HEADER_POLICIES_OFF_OFF", 84],
  ["SL_PLAN_HEADER_POLICY_COUNT_OFF", 88],
  ["SL_PLAN_HEADER_ISOLATES_OFF", 92],
  ["SL_PLAN_ENTRY_BYTES", 24],
  ["SL_PLAN_ENTRY_METHOD_OFF", 0],
  ["SL_PLAN_ENTRY_SEG_COUNT_OFF", 1],
  ["SL_PLAN_ENTRY_STEP_COUNT_OFF", 2],
  ["SL_PLAN_ENTRY_RESERVED0_OFF", 3],
  ["SL_PLAN_ENTRY_SEG_FIRST_OFF", 4],
  ["SL_PLAN_ENTRY_STEP_FIRST_OFF", 8],
  ["SL_PLAN_ENTRY_METHOD_OFF_OFF", 12],
  ["SL_PLAN_ENTRY_METHOD_LEN_OFF", 16],
  ["SL_PLAN_ENTRY_RESERVED1_OFF", 20],
  ["SL_PLAN_STEP_BYTES", 16],
  ["SL_PLAN_STEP_OP_OFF", 0],
  ["SL_PLAN_STEP_RESERVED0_OFF", 1],
  ["SL_PLAN_STEP_RESERVED1_OFF", 2],
  ["SL_PLAN_STEP_ARG_OFF", 4],
  ["SL_PLAN_STEP_ROUTE_OFF", 8],
  ["SL_PLAN_STEP_RESERVED2_OFF", 12],
  ["SL_PLAN_SEG_BYTES", 8],
  ["SL_PLAN_SEG_KIND_OFF", 0],
  ["SL_PLAN_SEG_RESERVED_OFF", 1],
  ["SL_PLAN_SEG_LEN_OFF", 2],
  ["SL_PLAN_SEG_OFF_OFF", 4],
  ["SL_PLAN_CLASS_BYTES", 24],
  ["SL_PLAN_CLASS_SET_OFF", 0],
  ["SL_PLAN_CLASS_MIN_OFF", 16],
  ["SL_PLAN_CLASS_MAX_OFF", 20],
  ["SL_PLAN_RESPOND_BYTES", 24],
  ["SL_PLAN_RESPOND_STATUS_OFF", 0],
  ["SL_PLAN_RESPOND_RESERVED_OFF", 2],
  ["SL_PLAN_RESPOND_FIELDS_OFF_OFF", 4],
  ["SL_PLAN_RESPOND_FIELDS_LEN_OFF", 8],
  ["SL_PLAN_RESPOND_BODY_OFF_OFF", 12],
  ["SL_PLAN_RESPOND_BODY_LEN_OFF", 16],
  ["SL_PLAN_RESPOND_RESERVED1_OFF", 20],
  ["SL_PLAN_UPSTREAM_BYTES", 56],
  ["SL_PLAN_UPSTREAM_FAMILY_OFF", 0],
  ["SL_PLAN_UPSTREAM_EARLY_DATA_OFF", 1],
  ["SL_PLAN_UPSTREAM_PORT_OFF", 2],
  ["SL_PLAN_UPSTREAM_ADDR_OFF", 4],
  ["SL_PLAN_UPSTREAM_NAME_OFF_OFF", 20],
  ["SL_PLAN_UPSTREAM_NAME_LEN_OFF", 24],
  ["SL_PLAN_UPSTREAM_CONNS_MAX_OFF", 28],
  ["SL_PLAN_UPSTREAM_IDLE_MAX_OFF", 32],
  ["SL_PLAN_UPSTREAM_CONNECT_TIMEOUT_MS_OFF", 36],
  ["SL_PLAN_UPSTREAM_HEAD_TIMEOUT_MS_OFF", 40],
  ["SL_PLAN_UPSTREAM_IDLE_TIMEOUT_MS_OFF", 44],
  ["SL_PLAN_UPSTREAM_ID_OFF", 48],
  ["SL_PLAN_UPSTREAM_TUNNEL_IDLE_TIMEOUT_MS_OFF", 52],
  ["SL_PLAN_HEADERS_BYTES", 24],
  ["SL_PLAN_HEADERS_REQUEST_FIRST_OFF", 0],
  ["SL_PLAN_HEADERS_REQUEST_COUNT_OFF", 4],
  ["SL_PLAN_HEADERS_RESPONSE_FIRST_OFF", 8],
  ["SL_PLAN_HEADERS_RESPONSE_COUNT_OFF", 12],
  ["SL_PLAN_HEADERS_REQUEST_BYTES_OFF", 16],
  ["SL_PLAN_HEADERS_RESPONSE_BYTES_OFF", 20],
  ["SL_PLAN_EDIT_BYTES", 16],
  ["SL_PLAN_EDIT_KIND_OFF", 0],
  ["SL_PLAN_EDIT_LAST_OFF", 1],
  ["SL_PLAN_EDIT_NAME_LEN_OFF", 2],
  ["SL_PLAN_EDIT_OFF_OFF", 4],
  ["SL_PLAN_EDIT_LEN_OFF", 8],
  ["SL_PLAN_EDIT_BIT_OFF", 12],
  ["SL_PLAN_POLICY_BYTES", 32],
  ["SL_PLAN_POLICY_OP_OFF", 0],
  ["SL_PLAN_POLICY_RESERVED0_OFF", 1],
  ["SL_PLAN_POLICY_REQUEST_BYTES_OFF", 2],
  ["SL_PLAN_POLICY_RESPONSE_BYTES_OFF", 4],
  ["SL_PLAN_POLICY_SCRATCH_BYTES_OFF", 6],
  ["SL_PLAN_POLICY_RECORD_OFF_OFF", 8],
  ["SL_PLAN_POLICY_RECORD_LEN_OFF", 12],
  ["SL_PLAN_POLICY_RESPOND_OFF", 16],
  ["SL_PLAN_POLICY_UPSTREAM_OFF", 20],
  ["SL_PLAN_POLICY_IDENTITY_OFF", 24],
  ["SL_PLAN_POLICY_RESERVED1_OFF", 28],
  ["SL_PLAN_RANGE_BYTES", 32],
  ["SL_PLAN_RANGE_FIRST_OFF", 0],
  ["SL_PLAN_RANGE_LAST_OFF", 16],
  ["SL_PLAN_REQUEST_ID_BYTES", 16],
  ["SL_PLAN_REQUEST_ID_TRUST_OFF", 0],
  ["SL_PLAN_REQUEST_ID_ID_BYTES_MAX_OFF", 1],
  ["SL_PLAN_REQUEST_ID_NAME_LEN_OFF", 2],
  ["SL_PLAN_REQUEST_ID_NAME_OFF_OFF", 4],
  ["SL_PLAN_REQUEST_ID_TRUSTED_OFF_OFF", 8],
  ["SL_PLAN_REQUEST_ID_TRUSTED_COUNT_OFF", 12],
  ["SL_PLAN_CLIENT_BYTES", 16],
  ["SL_PLAN_CLIENT_PROXIES_OFF_OFF", 0],
  ["SL_PLAN_CLIENT_PROXIES_COUNT_OFF", 4],
  ["SL_PLAN_CLIENT_FORWARDED_OFF", 8],
  ["SL_PLAN_CLIENT_RESERVED_OFF", 12],
  ["SL_PLAN_IP_RESTRICTION_BYTES", 32],
  ["SL_PLAN_IP_RESTRICTION_CLIENT_OFF", 0],
  ["SL_PLAN_IP_RESTRICTION_DENY_OFF_OFF", 16],
  ["SL_PLAN_IP_RESTRICTION_DENY_COUNT_OFF", 20],
  ["SL_PLAN_IP_RESTRICTION_ALLOW_OFF_OFF", 24],
  ["SL_PLAN_IP_RESTRICTION_ALLOW_COUNT_OFF", 28],
  ["SL_PLAN_CORS_ORIGIN_BYTES", 12],
  ["SL_PLAN_CORS_ORIGIN_OFF_OFF", 0],
  ["SL_PLAN_CORS_ORIGIN_LEN_OFF", 4],
  ["SL_PLAN_CORS_ORIGIN_HEADERS_OFF", 8],
  ["SL_PLAN_CORS_BYTES", 32],
  ["SL_PLAN_CORS_ORIGINS_OFF_OFF", 0],
  ["SL_PLAN_CORS_ORIGINS_COUNT_OFF", 4],
  ["SL_PLAN_CORS_OTHERWISE_OFF", 8],
  ["SL_PLAN_CORS_PREFLIGHT_OFF_OFF", 12],
  ["SL_PLAN_CORS_PREFLIGHT_LEN_OFF", 16],
  ["SL_PLAN_CORS_VARY_LAST_OFF", 20],
  ["SL_PLAN_CORS_REFLECTS_OFF", 21],
  ["SL_PLAN_CORS_RESERVED0_OFF", 22],
  ["SL_PLAN_CORS_RESERVED1_OFF", 24],
  ["SL_PLAN_CORS_RESERVED2_OFF", 28],
  ["SL_PLAN_BODY_LIMIT_BYTES", 8],
  ["SL_PLAN_BODY_LIMIT_BYTES_MAX_OFF", 0],
  ["SL_PLAN_ALLOWED_BYTES", 12],
  ["SL_PLAN_ALLOWED_ENTRY_OFF", 0],
  ["SL_PLAN_ALLOWED_OFF_OFF", 4],
  ["SL_PLAN_ALLOWED_LEN_OFF", 8],
  ["SL_PLAN_METHOD_NOT_ALLOWED_BYTES", 8],
  ["SL_PLAN_METHOD_NOT_ALLOWED_ROWS_OFF_OFF", 0],
  ["SL_PLAN_METHOD_NOT_ALLOWED_ROWS_COUNT_OFF", 4],
  ["SL_PLAN_EARLY_DATA_BYTES", 8],
  ["SL_PLAN_EARLY_DATA_REFUSE_OFF", 0],
  ["SL_PLAN_EARLY_DATA_RESERVED_OFF", 4],
  ["SL_PLAN_TEXT_BYTES", 8],
  ["SL_PLAN_TEXT_OFF_OFF", 0],
  ["SL_PLAN_TEXT_LEN_OFF", 4],
  ["SL_PLAN_KEY_BYTES", 24],
  ["SL_PLAN_KEY_KIND_OFF", 0],
  ["SL_PLAN_KEY_RESERVED_OFF", 1],
  ["SL_PLAN_KEY_NAME_LEN_OFF", 2],
  ["SL_PLAN_KEY_NAME_OFF_OFF", 4],
  ["SL_PLAN_KEY_CLIENT_OFF", 8],
  ["SL_PLAN_RATE_LIMIT_BYTES", 64],
  ["SL_PLAN_RATE_LIMIT_KEY_OFF", 0],
  ["SL_PLAN_RATE_LIMIT_INTERVAL_US_OFF", 24],
  ["SL_PLAN_RATE_LIMIT_BURST_OFF", 32],
  ["SL_PLAN_RATE_LIMIT_KEYS_MAX_OFF", 36],
  ["SL_PLAN_RATE_LIMIT_FLAGS_OFF", 40],
  ["SL_PLAN_RATE_LIMIT_POLICY_OFF_OFF", 44],
  ["SL_PLAN_RATE_LIMIT_POLICY_LEN_OFF", 48],
  ["SL_PLAN_RATE_LIMIT_NAME_OFF_OFF", 52],
  ["SL_PLAN_RATE_LIMIT_NAME_LEN_OFF", 56],
  ["SL_PLAN_RATE_LIMIT_RESERVED_OFF", 60],
  ["SL_PLAN_CONCURRENCY_LIMIT_BYTES", 32],
  ["SL_PLAN_CONCURRENCY_LIMIT_KEY_OFF", 0],
  ["SL_PLAN_CONCURRENCY_LIMIT_MAX_OFF", 24],
  ["SL_PLAN_CONCURRENCY_LIMIT_KEYS_MAX_OFF", 28],
  ["SL_PLAN_TIMEOUT_BYTES", 8],
  ["SL_PLAN_TIMEOUT_MS_OFF", 0],
  ["SL_PLAN_TIMEOUT_RESERVED_OFF", 4],
  ["SL_PLAN_USER_BYTES", 16],
  ["SL_PLAN_USER_NAME_OFF", 0],
  ["SL_PLAN_USER_PASSWORD_OFF", 8],
  ["SL_PLAN_BASIC_AUTH_BYTES", 8],
  ["SL_PLAN_BASIC_AUTH_USERS_OFF_OFF", 0],
  ["SL_PLAN_BASIC_AUTH_USER_COUNT_OFF", 4],
  ["SL_PLAN_BEARER_AUTH_BYTES", 32],
  ["SL_PLAN_BEARER_AUTH_NAME_OFF", 0],
  ["SL_PLAN_BEARER_AUTH_PREFIX_OFF", 8],
  ["SL_PLAN_BEARER_AUTH_TOKENS_OFF_OFF", 16],
  ["SL_PLAN_BEARER_AUTH_TOKEN_COUNT_OFF", 20],
  ["SL_PLAN_BEARER_AUTH_MISSING_OFF", 24],
  ["SL_PLAN_BEARER_AUTH_MALFORMED_OFF", 28],
  ["SL_PLAN_CANARY_BYTES", 64],
  ["SL_PLAN_CANARY_HEADER_OFF", 0],
  ["SL_PLAN_CANARY_HEADER_VALUE_OFF", 8],
  ["SL_PLAN_CANARY_COOKIE_OFF", 16],
  ["SL_PLAN_CANARY_COOKIE_VALUE_OFF", 24],
  ["SL_PLAN_CANARY_STICKY_OFF", 32],
  ["SL_PLAN_CANARY_CLIENT_OFF", 40],
  ["SL_PLAN_CANARY_SHARES_OFF", 56],
  ["SL_PLAN_CANARY_FLAGS_OFF", 60],
];

export interface StatusRow {
  readonly status: number;
  /** The C name without SL_. */
  readonly name: string;
  /** The word in logs and metrics. */
  readonly label: string;
  readonly source: "client" | "upstream" | "gateway";
  /** Whether sending the same request again may help. */
  readonly retry: boolean;
  /** What a client sees; 0 where nothing can be sent. */
  readonly http: number;
  readonly text: string;
}

/** Every way that something can go wrong (status.h). */
export const STATUS: readonly StatusRow[] = [
  { status: -1, name: "E_INVALID", label: "invalid_argument", source: "gateway", retry: false, http: 0, text: "An argument is out of range." },
  { status: -2, name: "E_NO_MEMORY", label: "no_memory", source: "gateway", retry: true, http: 503, text: "Out of memory." },
  { status: -3, name: "E_SYSTEM", label: "system", source: "gateway", retry: false, http: 500, text: "A system call failed." },
  { status: -4, name: "E_IO_UNAVAILABLE", label: "io_unavailable", source: "gateway", retry: false, http: 0, text: "The forced I/O backend is not available." },
  { status: -5, name: "E_ADDRESS_IN_USE", label: "address_in_use", source: "gateway", retry: false, http: 0, text: "The address is in use." },
  { status: -6, name: "E_PLAN_INVALID", label: "plan_invalid", source: "gateway", retry: false, http: 0, text: "The plan does not pass validation." },
  { status: -7, name: "E_STATE", label: "wrong_state", source: "gateway", retry: false, http: 0, text: "The gateway is not in a state that allows this." },
  { status: -8, name: "E_TLS_CONFIG", label: "tls_config", source: "gateway", retry: false, http: 0, text: "The certificate or key cannot be used." },
  { status: -20, name: "E_BAD_REQUEST", label: "bad_request", source: "client", retry: false, http: 400, text: "The request is malformed." },
  { status: -21, name: "E_BAD_LINE", label: "bad_request_line", source: "client", retry: false, http: 400, text: "The request line is malformed." },
  { status: -22, name: "E_BAD_FIELD", label: "bad_field", source: "client", retry: false, http: 400, text: "A header field is malformed." },
  { status: -23, name: "E_BAD_FRAMING", label: "bad_framing", source: "client", retry: false, http: 400, text: "Content-Length or Transfer-Encoding is invalid." },
  { status: -24, name: "E_BAD_CHUNK", label: "bad_chunk", source: "client", retry: false, http: 400, text: "A chunk of the body is malformed." },
  { status: -25, name: "E_BAD_HOST", label: "bad_host", source: "client", retry: false, http: 400, text: "Host is missing, repeated or invalid." },
  { status: -26, name: "E_BAD_PATH", label: "bad_path", source: "client", retry: false, http: 400, text: "The path has a dot segment or %00." },
  { status: -27, name: "E_BAD_VERSION", label: "bad_version", source: "client", retry: false, http: 505, text: "Only HTTP/1.0 and HTTP/1.1 are served here." },
  { status: -28, name: "E_TARGET_TOO_LONG", label: "target_too_long", source: "client", retry: false, http: 414, text: "The request line is too long." },
  { status: -29, name: "E_HEAD_TOO_LARGE", label: "head_too_large", source: "client", retry: false, http: 431, text: "The request head is too large." },
  { status: -30, name: "E_TOO_MANY_FIELDS", label: "too_many_fields", source: "client", retry: false, http: 431, text: "The request has too many header fields." },
  { status: -31, name: "E_BODY_TOO_LARGE", label: "body_too_large", source: "client", retry: false, http: 413, text: "The request body is too large." },
  { status: -32, name: "E_HEAD_TIMEOUT", label: "head_timeout", source: "client", retry: true, http: 408, text: "The request head took too long." },
  { status: -33, name: "E_BODY_TIMEOUT", label: "body_timeout", source: "client", retry: true, http: 408, text: "The request body took too long." },
  { status: -34, name: "E_METHOD_UNKNOWN", label: "method_unknown", source: "client", retry: false, http: 501, text: "This method is not implemented." },
  { status: -35, name: "E_CODING_UNKNOWN", label: "coding_unknown", source: "client", retry: false, http: 501, text: "This transfer coding is not implemented." },
  { status: -36, name: "E_EXPECTATION", label: "expectation_failed", source: "client", retry: false, http: 417, text: "This expectation cannot be met." },
  { status: -37, name: "E_LOOP", label: "loop", source: "client", retry: false, http: 508, text: "The request came through this gateway before." },
  { status: -38, name: "E_CLIENT_CLOSED", label: "client_closed", source: "client", retry: false, http: 0, text: "The client closed the connection." },
  { status: -39, name: "E_IDLE_TIMEOUT", label: "idle_timeout", source: "client", retry: false, http: 0, text: "The connection was idle for too long." },
  { status: -40, name: "E_WRITE_STALLED", label: "write_stalled", source: "client", retry: false, http: 0, text: "The client reads too slowly." },
  { status: -41, name: "E_TLS_HANDSHAKE", label: "tls_handshake", source: "client", retry: false, http: 0, text: "The TLS handshake failed." },
  { status: -42, name: "E_TLS_TRUNCATED", label: "tls_truncated", source: "client", retry: false, http: 0, text: "The TLS connection ended without close_notify." },
  { status: -43, name: "E_NOT_FOUND", label: "not_found", source: "client", retry: false, http: 404, text: "404 Not Found" },
  { status: -44, name: "E_TLS_FAILED", label: "tls_failed", source: "client", retry: false, http: 0, text: "The TLS connection failed after its handshake." },
  { status: -45, name: "E_MISDIRECTED", label: "misdirected", source: "client", retry: true, http: 421, text: "This host is not served on this connection." },
  { status: -46, name: "E_IP_RESTRICTED", label: "ip_restricted", source: "client", retry: false, http: 403, text: "This address is not allowed here." },
  { status: -52, name: "E_RATE_LIMITED", label: "rate_limited", source: "client", retry: true, http: 429, text: "Too many requests." },
  { status: -53, name: "E_UNAUTHORIZED", label: "unauthorized", source: "client", retry: false, http: 401, text: "Unauthorized" },
  { status: -54, name: "E_BAD_CREDENTIALS", label: "bad_credentials", source: "client", retry: false, http: 400, text: "Bad Request" },
  { status: -59, name: "E_BAD_FRAME", label: "bad_websocket_frame", source: "client", retry: false, http: 0, text: "The client broke the WebSocket protocol." },
  { status: -55, name: "E_TOO_EARLY", label: "too_early", source: "client", retry: true, http: 425, text: "The request came in TLS early data, which this route does not take." },
  { status: -47, name: "E_METHOD_NOT_ALLOWED", label: "method_not_allowed", source: "client", retry: false, http: 405, text: "This path has no route for the method." },
  { status: -60, name: "E_SHED_EXCHANGES", label: "shed_exchanges", source: "gateway", retry: true, http: 503, text: "Too many requests wait for TypeScript." },
  { status: -61, name: "E_SHED_REQUESTS", label: "shed_requests", source: "gateway", retry: true, http: 503, text: "Too many requests are in flight." },
  { status: -62, name: "E_SHED_CONNS", label: "shed_conns", source: "gateway", retry: true, http: 503, text: "Too many connections are open." },
  { status: -63, name: "E_HANDLER", label: "handler_failed", source: "gateway", retry: false, http: 500, text: "The handler failed." },
  { status: -64, name: "E_HANDLER_TIMEOUT", label: "handler_timeout", source: "gateway", retry: true, http: 504, text: "The handler did not answer in time." },
  { status: -65, name: "E_ISOLATE_GONE", label: "isolate_gone", source: "gateway", retry: true, http: 503, text: "The isolate that runs this route has ended." },
  { status: -66, name: "E_DRAINING", label: "draining", source: "gateway", retry: true, http: 503, text: "The gateway is shutting down." },
  { status: -67, name: "E_SHED_NOT_FOUND", label: "shed_not_found", source: "gateway", retry: true, http: 503, text: "Too many requests match no route." },
  { status: -68, name: "E_SHED_HEADS", label: "shed_heads", source: "gateway", retry: true, http: 408, text: "Too many requests wait for the rest of their head." },
  { status: -69, name: "E_SHED_ADDRESS", label: "shed_address", source: "gateway", retry: true, http: 503, text: "Too many connections are open from this address." },
  { status: -72, name: "E_SHED_CONCURRENCY", label: "shed_concurrency", source: "gateway", retry: true, http: 503, text: "Too many requests of this kind are in flight." },
  { status: -73, name: "E_TIMEOUT", label: "timeout", source: "gateway", retry: true, http: 504, text: "Gateway Timeout" },
  { status: -80, name: "E_UPSTREAM_REFUSED", label: "upstream_refused", source: "upstream", retry: true, http: 502, text: "The upstream refused the connection." },
  { status: -81, name: "E_UPSTREAM_RESET", label: "upstream_reset", source: "upstream", retry: true, http: 502, text: "The upstream closed the connection before its answer." },
  { status: -82, name: "E_UPSTREAM_BAD", label: "upstream_bad_answer", source: "upstream", retry: false, http: 502, text: "The upstream's answer is malformed." },
  { status: -83, name: "E_UPSTREAM_CONNECT_TIMEOUT", label: "upstream_connect_timeout", source: "upstream", retry: true, http: 504, text: "The upstream did not accept in time." },
  { status: -84, name: "E_UPSTREAM_TIMEOUT", label: "upstream_timeout", source: "upstream", retry: true, http: 504, text: "The upstream did not answer in time." },
  { status: -85, name: "E_UPSTREAM_FULL", label: "upstream_full", source: "upstream", retry: true, http: 503, text: "All connections to the upstream are in use." },
  { status: -86, name: "E_UPSTREAM_CUT", label: "upstream_cut", source: "upstream", retry: true, http: 0, text: "The upstream broke off inside its answer." },
  { status: -87, name: "E_UPSTREAM_BAD_BODY", label: "upstream_bad_body", source: "upstream", retry: false, http: 0, text: "The body of the upstream's answer is malformed." },
  { status: -88, name: "E_UPSTREAM_IDLE_TIMEOUT", label: "upstream_idle_timeout", source: "upstream", retry: true, http: 0, text: "The upstream stopped inside its answer." },
  { status: -89, name: "E_UPSTREAM_STALLED", label: "upstream_stalled", source: "upstream", retry: true, http: 504, text: "The upstream stopped reading the request." },
];

/** Names of methods by number; 0 is any other. */
export const METHODS: readonly string[] = [
  "",
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "CONNECT",
  "TRACE",
  "QUERY",
];

/** Names of known header fields by number; 0 is any other. */
export const HEADERS: readonly string[] = [
  "",
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
  "expect",
  "via",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "accept",
  "accept-encoding",
  "accept-language",
  "authorization",
  "cache-control",
  "content-type",
  "content-encoding",
  "cookie",
  "date",
  "etag",
  "if-match",
  "if-none-match",
  "if-modified-since",
  "location",
  "origin",
  "range",
  "referer",
  "server",
  "set-cookie",
  "user-agent",
  "vary",
  "x-request-id",
  "early-data",
  "proxy-authenticate",
  "proxy-authorization",
  "max-forwards",
];

/** Why TLS handshakes fail, by number. */
export const TLS_REASONS: readonly string[] = [
  "other",
  "silent",
  "left",
  "closed",
  "timeout",
  "plain_text",
  "plain_http",
  "plain_connect",
  "no_tls",
  "version",
  "version_policy",
  "fallback",
  "cipher",
  "group",
  "signature",
  "certificate_type",
  "alpn",
  "client_certificate_missing",
  "client_certificate",
  "client_signature",
  "record_changed",
  "record_short",
  "renegotiation",
  "key_updates",
  "empty_records",
  "warnings",
  "alert_handshake_failure",
  "alert_bad_certificate",
  "alert_unsupported_certificate",
  "alert_certificate_revoked",
  "alert_certificate_expired",
  "alert_certificate_unknown",
  "alert_unknown_ca",
  "alert_protocol_version",
  "alert_user_cancelled",
];

/** Counters in the order of sl_gateway_stats, and what each counts. */
export const COUNTERS = [
  ["conns_accepted", "connections accepted"],
  ["conns_closed", "connections closed"],
  ["conns_shed", "connections refused at conns_max"],
  ["requests", "requests whose head was complete"],
  ["requests_native", "answered in C"],
  ["requests_typescript", "sent to TypeScript"],
  ["requests_proxied", "sent to an upstream"],
  ["responses", "answers whose last byte was handed to the kernel"],
  ["bad_requests", "requests refused by the parser or its limits"],
  ["events", "ring events written"],
  ["verdicts", "ring verdicts read"],
  ["late_verdicts", "verdicts for a connection that is gone"],
  ["bad_verdicts", "verdicts that break the contract"],
  ["ring_full", "requests answered 503 because no exchange slot was free"],
  ["isolate_wakes", "wake bytes sent to an isolate"],
  ["isolate_wakes_skipped", "batches published to an isolate that was awake"],
  ["exchanges_live", "exchange slots lent now"],
  ["upstream_connects", "upstream connections opened"],
  ["upstream_reuses", "requests sent on a pooled upstream connection"],
  ["upstream_retries", "requests sent again on a fresh connection"],
  ["upstream_discards", "upstream connections dropped: bytes or EOF with no request outstanding"],
  ["upstream_idle", "upstream connections pooled now"],
  ["upstream_failures", "proxied requests that failed"],
  ["tls_handshakes", "TLS handshakes completed"],
  ["tls_failures", "TLS handshakes failed"],
  ["bytes_in", "bytes received from clients"],
  ["bytes_out", "bytes sent to clients"],
  ["log_dropped", "access records dropped because the log's buffer was full"],
  ["conns_live", "connections open now"],
  ["requests_live", "requests in flight now"],
  ["io_enters", "system calls that submit or wait"],
  ["io_sqes", "operations submitted"],
  ["io_cqes", "completions read"],
  ["io_enobufs", "receives that found no buffer"],
  ["io_starved", "connections waiting for a buffer now"],
  ["io_multishot_ended", "multishot operations that the kernel ended early"],
  ["io_cq_overflow", "times the completion queue overflowed"],
  ["io_stale_cqes", "completions for an earlier life of a slot (must stay 0)"],
  ["io_ops_armed", "operations armed now"],
  ["io_bufs_lent", "buffers lent now"],
  ["io_wakes", "wakes of the loop by another thread"],
  ["io_batch_waits", "waits for several completions at once"],
  ["io_unrestricted", "rings that the kernel did not restrict to our operations"],
  ["upstream_live", "upstream connections open now, pooled ones included"],
  ["upstream_waiting", "requests that wait for an upstream connection now"],
  ["upstream_waits", "requests that had to wait for an upstream connection"],
  ["upstream_aborts", "upstream connections closed because their request was given up"],
  ["conns_handed_off", "connections accepted here and left to a worker with fewer"],
  ["io_rings", "workers on io_uring; the others are on epoll"],
  ["io_ops", "operations armed so far: io_ops_done and io_ops_armed together"],
  ["io_ops_done", "operations that have ended"],
  ["io_short_sends", "sends that took several parts"],
  ["io_starved_max", "connections that waited for a buffer, at most"],
  ["io_bufs", "buffers: those free, in the kernel and lent together"],
  ["io_bufs_free", "buffers free now"],
  ["io_bufs_kernel", "buffers that the kernel may receive into now"],
  ["io_bufs_lent_max", "buffers lent, at most, by one worker"],
  ["io_slots", "connections that fit, downstream and upstream together: slots free and live"],
  ["io_slots_free", "slots free now"],
  ["io_slots_live", "slots taken now"],
  ["io_slots_live_max", "slots taken, at most, by one worker"],
  ["io_turn_us_max", "longest time between two waits, in microseconds"],
  ["io_wakes_sent", "wakes by other threads that cost a system call"],
  ["io_wakes_skipped", "wakes by other threads while one was under way"],
  ["io_kernel_threads", "threads that the kernel started for io_uring (must stay 0)"],
  ["upgrades", "connections that became a WebSocket"],
  ["upgrades_live", "of them, open now"],
  ["tls_full", "TLS handshakes without resumption"],
  ["tls_resumed", "TLS handshakes by a session ticket"],
  ["tls_early", "of those: with early data accepted"],
  ["tickets_made", "session tickets made"],
  ["tickets_bare", "of those: without early data, because the single-use set had no place"],
  ["tickets_opened", "session tickets accepted"],
  ["tickets_unknown_key", "session tickets under a key that is not in the ring"],
  ["tickets_bad", "session tickets that are none, or were changed"],
  ["tickets_expired", "session tickets older than their lifetime"],
  ["ticket_takes_won", "tickets taken: early data, or a sealed ticket's key"],
  ["ticket_takes_lost", "takes of a ticket that was taken before, or given up"],
  ["ticket_takes_foreign", "takes of a ticket that another process made"],
  ["ticket_takes_expired", "takes of a ticket after the window for early data"],
  ["sealed_evicted", "keys of sealed tickets that gave way to newer ones"],
  ["ticket_set_entries", "tickets that may bring early data now"],
  ["ticket_set_capacity", "tickets that the single-use set can hold"],
  ["ticket_horizon_ms", "age of the oldest ticket that may bring early data now"],
  ["steks", "session ticket keys in the ring now"],
  ["early_held", "requests in early data that waited for the handshake"],
  ["rate_limited", "requests over a rate limit, answered 429"],
  ["rate_limited_dry_run", "requests over a rate limit that only looks on (dryRun)"],
  ["rate_limit_evictions", "keys of rate limits that were forgotten before their time"],
  ["concurrency_limited", "requests refused because too many of their key were in flight"],
  ["concurrency_unlimited", "requests for whose key a concurrency limit had no place: they passed"],
  ["isolate_moves", "requests of an isolate that ended, not begun there, that another one got"],
  ["isolate_crashes", "isolates that ended by themselves"],
  ["isolate_blocks", "isolates ended because a handler blocked them"],
  ["plan_loads", "plans published: the first one, and one for each reload"],
  ["client_certs_verified", "client certificates accepted"],
  ["client_certs_missing", "TLS handshakes refused because the client showed no certificate"],
  ["client_certs_unknown_ca", "client certificates refused: of none of the CAs of their policy"],
  ["client_certs_expired", "client certificates refused: outside their time, or that of their issuer"],
  ["client_certs_refused", "client certificates refused for another reason"],
  ["certs_compressed", "TLS handshakes in which the certificate was sent compressed"],
  ["certs_compressed_late", "of those: compressed in the handshake, not when it was loaded (must stay 0)"],
  ["certs_compressed_bytes", "bytes of certificates as they were sent compressed"],
  ["certs_uncompressed_bytes", "what they would have been"],
  ["tls_failures_unlogged", "failed TLS handshakes that are not in the log, because too many failed in one second"],
] as const;
export type CounterName = (typeof COUNTERS)[number][0];

/** The same as an object. Those with `now` tell a state, all others count since the start. */
export interface Counters {
  /** Connections accepted. */
  conns_accepted: number;
  /** Connections closed. */
  conns_closed: number;
  /** Connections refused at conns_max. */
  conns_shed: number;
  /** Requests whose head was complete. */
  requests: number;
  /** Answered in C. */
  requests_native: number;
  /** Sent to TypeScript. */
  requests_typescript: number;
  /** Sent to an upstream. */
  requests_proxied: number;
  /** Answers whose last byte was handed to the kernel. */
  responses: number;
  /** Requests refused by the parser or its limits. */
  bad_requests: number;
  /** Ring events written. */
  events: number;
  /** Ring verdicts read. */
  verdicts: number;
  /** Verdicts for a connection that is gone. */
  late_verdicts: number;
  /** Verdicts that break the contract. */
  bad_verdicts: number;
  /** Requests answered 503 because no exchange slot was free. */
  ring_full: number;
  /** Wake bytes sent to an isolate. */
  isolate_wakes: number;
  /** Batches published to an isolate that was awake. */
  isolate_wakes_skipped: number;
  /** Exchange slots lent now. */
  exchanges_live: number;
  /** Upstream connections opened. */
  upstream_connects: number;
  /** Requests sent on a pooled upstream connection. */
  upstream_reuses: number;
  /** Requests sent again on a fresh connection. */
  upstream_retries: number;
  /** Upstream connections dropped: bytes or EOF with no request outstanding. */
  upstream_discards: number;
  /** Upstream connections pooled now. */
  upstream_idle: number;
  /** Proxied requests that failed. */
  upstream_failures: number;
  /** TLS handshakes completed. */
  tls_handshakes: number;
  /** TLS handshakes failed. */
  tls_failures: number;
  /** Bytes received from clients. */
  bytes_in: number;
  /** Bytes sent to clients. */
  bytes_out: number;
  /** Access records dropped because the log's buffer was full. */
  log_dropped: number;
  /** Connections open now. */
  conns_live: number;
  /** Requests in flight now. */
  requests_live: number;
  /** System calls that submit or wait. */
  io_enters: number;
  /** Operations submitted. */
  io_sqes: number;
  /** Completions read. */
  io_cqes: number;
  /** Receives that found no buffer. */
  io_enobufs: number;
  /** Connections waiting for a buffer now. */
  io_starved: number;
  /** Multishot operations that the kernel ended early. */
  io_multishot_ended: number;
  /** Times the completion queue overflowed. */
  io_cq_overflow: number;
  /** Completions for an earlier life of a slot (must stay 0). */
  io_stale_cqes: number;
  /** Operations armed now. */
  io_ops_armed: number;
  /** Buffers lent now. */
  io_bufs_lent: number;
  /** Wakes of the loop by another thread. */
  io_wakes: number;
  /** Waits for several completions at once. */
  io_batch_waits: number;
  /** Rings that the kernel did not restrict to our operations. */
  io_unrestricted: number;
  /** Upstream connections open now, pooled ones included. */
  upstream_live: number;
  /** Requests that wait for an upstream connection now. */
  upstream_waiting: number;
  /** Requests that had to wait for an upstream connection. */
  upstream_waits: number;
  /** Upstream connections closed because their request was given up. */
  upstream_aborts: number;
  /** Connections accepted here and left to a worker with fewer. */
  conns_handed_off: number;
  /** Workers on io_uring; the others are on epoll. */
  io_rings: number;
  /** Operations armed so far: io_ops_done and io_ops_armed together. */
  io_ops: number;
  /** Operations that have ended. */
  io_ops_done: number;
  /** Sends that took several parts. */
  io_short_sends: number;
  /** Connections that waited for a buffer, at most. */
  io_starved_max: number;
  /** Buffers: those free, in the kernel and lent together. */
  io_bufs: number;
  /** Buffers free now. */
  io_bufs_free: number;
  /** Buffers that the kernel may receive into now. */
  io_bufs_kernel: number;
  /** Buffers lent, at most, by one worker. */
  io_bufs_lent_max: number;
  /** Connections that fit, downstream and upstream together: slots free and live. */
  io_slots: number;
  /** Slots free now. */
  io_slots_free: number;
  /** Slots taken now. */
  io_slots_live: number;
  /** Slots taken, at most, by one worker. */
  io_slots_live_max: number;
  /** Longest time between two waits, in microseconds. */
  io_turn_us_max: number;
  /** Wakes by other threads that cost a system call. */
  io_wakes_sent: number;
  /** Wakes by other threads while one was under way. */
  io_wakes_skipped: number;
  /** Threads that the kernel started for io_uring (must stay 0). */
  io_kernel_threads: number;
  /** Connections that became a WebSocket. */
  upgrades: number;
  /** Of them, open now. */
  upgrades_live: number;
  /** TLS handshakes without resumption. */
  tls_full: number;
  /** TLS handshakes by a session ticket. */
  tls_resumed: number;
  /** Of those: with early data accepted. */
  tls_early: number;
  /** Session tickets made. */
  tickets_made: number;
  /** Of those: without early data, because the single-use set had no place. */
  tickets_bare: number;
  /** Session tickets accepted. */
  tickets_opened: number;
  /** Session tickets under a key that is not in the ring. */
  tickets_unknown_key: number;
  /** Session tickets that are none, or were changed. */
  tickets_bad: number;
  /** Session tickets older than their lifetime. */
  tickets_expired: number;
  /** Tickets taken: early data, or a sealed ticket's key. */
  ticket_takes_won: number;
  /** Takes of a ticket that was taken before, or given up. */
  ticket_takes_lost: number;
  /** Takes of a ticket that another process made. */
  ticket_takes_foreign: number;
  /** Takes of a ticket after the window for early data. */
  ticket_takes_expired: number;
  /** Keys of sealed tickets that gave way to newer ones. */
  sealed_evicted: number;
  /** Tickets that may bring early data now. */
  ticket_set_entries: number;
  /** Tickets that the single-use set can hold. */
  ticket_set_capacity: number;
  /** Age of the oldest ticket that may bring early data now. */
  ticket_horizon_ms: number;
  /** Session ticket keys in the ring now. */
  steks: number;
  /** Requests in early data that waited for the handshake. */
  early_held: number;
  /** Requests over a rate limit, answered 429. */
  rate_limited: number;
  /** Requests over a rate limit that only looks on (dryRun). */
  rate_limited_dry_run: number;
  /** Keys of rate limits that were forgotten before their time. */
  rate_limit_evictions: number;
  /** Requests refused because too many of their key were in flight. */
  concurrency_limited: number;
  /** Requests for whose key a concurrency limit had no place: they passed. */
  concurrency_unlimited: number;
  /** Requests of an isolate that ended, not begun there, that another one got. */
  isolate_moves: number;
  /** Isolates that ended by themselves. */
  isolate_crashes: number;
  /** Isolates ended because a handler blocked them. */
  isolate_blocks: number;
  /** Plans published: the first one, and one for each reload. */
  plan_loads: number;
  /** Client certificates accepted. */
  client_certs_verified: number;
  /** TLS handshakes refused because the client showed no certificate. */
  client_certs_missing: number;
  /** Client certificates refused: of none of the CAs of their policy. */
  client_certs_unknown_ca: number;
  /** Client certificates refused: outside their time, or that of their issuer. */
  client_certs_expired: number;
  /** Client certificates refused for another reason. */
  client_certs_refused: number;
  /** TLS handshakes in which the certificate was sent compressed. */
  certs_compressed: number;
  /** Of those: compressed in the handshake, not when it was loaded (must stay 0). */
  certs_compressed_late: number;
  /** Bytes of certificates as they were sent compressed. */
  certs_compressed_bytes: number;
  /** What they would have been. */
  certs_uncompressed_bytes: number;
  /** Failed TLS handshakes that are not in the log, because too many failed in one second. */
  tls_failures_unlogged: number;
}
