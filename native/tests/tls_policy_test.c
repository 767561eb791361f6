// What a row of policy makes of a handshake, judged by BoringSSL's client: versions, groups and ALPN, by server name and without session tickets.
#include "tls_pair.h"

#define NAMES 2

// A listener with a row for localhost and one for other.example.
struct rig {
    struct sl_tls_certificate *certificate[NAMES];
    struct sl_tls_sni *sni;
    struct sl_tls_ctx *ctx;
    struct sl_counters counters;
};

static void rig_start(struct rig *rig, const struct sl_tls_policy policies[NAMES]) {
    static const char *names[NAMES] = {"localhost", "other.example"};
    const struct local_pem *pem = shared_pem();
    *rig = (struct rig){0};
    SL_ASSERT(sl_tls_sni_new(&rig->sni) == SL_OK);
    for (int i = 0; i < NAMES; i++) {
        SL_ASSERT(sl_tls_certificate_new(&rig->certificate[i], pem->cert, pem->key) == SL_OK);
        SL_ASSERT(sl_tls_sni_add(rig->sni, rig->certificate[i], sl_span_of(names[i])) == SL_OK);
    }
    SL_ASSERT(sl_tls_ctx_new(&rig->ctx, rig->sni, policies, NULL, &rig->counters) == SL_OK);
}

static void rig_end(struct rig *rig) {
    sl_tls_ctx_free(rig->ctx);
    sl_tls_sni_free(rig->sni);
    for (int i = 0; i < NAMES; i++) {
        sl_tls_certificate_free(rig->certificate[i]);
    }
}

// Of a client that knows these groups (0 ends them), up to this version.
struct agreed {
    bool open;
    uint16_t version, group;
    const char *error; // a constant
};

static struct agreed agree(struct rig *rig, const char *name, uint16_t version_max,
                           const uint16_t *groups) {
    SSL_CTX *client = SSL_CTX_new(TLS_method());
    SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
    size_t count = 0;
    while (groups && groups[count]) {
        count++;
    }
    SL_ASSERT(!groups || SSL_CTX_set1_group_ids(client, groups, count));
    struct pair pair;
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx,
                                                 .client_ctx = client,
                                                 .server_name = name,
                                                 .client_max = version_max}));
    pump(&pair);
    struct sl_tls_info info;
    sl_tls_info(pair.tls, &info);
    struct agreed agreed = {
        .open = sl_tls_state(pair.tls) == SL_TLS_OPEN && SSL_is_init_finished(pair.client),
        .version = info.version,
        .group = info.group,
        .error = sl_tls_error(pair.tls)};
    pair_close(&pair);
    SSL_CTX_free(client);
    return agreed;
}

TEST(the_oldest_version_is_of_the_server_name) {
    struct rig rig;
    rig_start(&rig, (struct sl_tls_policy[NAMES]){{.version_min = TLS1_3_VERSION}, {0}});
    CHECK_INT(agree(&rig, "localhost", 0, NULL).version, TLS1_3_VERSION);
    struct agreed refused = agree(&rig, "localhost", TLS1_2_VERSION, NULL);
    CHECK(!refused.open);
    CHECK_STR(refused.error, "the client offers no TLS 1.3, which the policy of this name asks for");
    CHECK(!agree(&rig, "", TLS1_2_VERSION, NULL).open); // who names none gets the first row
    struct agreed other = agree(&rig, "other.example", TLS1_2_VERSION, NULL);
    CHECK(other.open);
    CHECK_INT(other.version, TLS1_2_VERSION);
    CHECK(agree(&rig, "other.example", TLS1_3_VERSION, NULL).open);
    rig_end(&rig);
}

TEST(groups_are_of_the_server_name_in_its_order) {
    static const uint16_t few[] = {SSL_GROUP_SECP256R1, SSL_GROUP_X25519, SSL_GROUP_SECP521R1, 0};
    static const uint16_t p384[] = {SSL_GROUP_SECP384R1, 0}, p256[] = {SSL_GROUP_SECP256R1, 0};
    struct rig rig;
    rig_start(&rig, (struct sl_tls_policy[NAMES]){
                        {.group_count = 2, .groups = {SSL_GROUP_SECP521R1, SSL_GROUP_X25519}}, {0}});
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        CHECK_INT(agree(&rig, "localhost", version, few).group, SSL_GROUP_SECP521R1);
        CHECK_INT(agree(&rig, "localhost", version, NULL).group, SSL_GROUP_X25519);
        CHECK(!agree(&rig, "localhost", version, p384).open);
        CHECK_INT(agree(&rig, "other.example", version, p256).group, SSL_GROUP_SECP256R1);
        CHECK_INT(agree(&rig, "other.example", version, few).group, SSL_GROUP_X25519);
    }
    // In TLS 1.2 a client's groups are also those of the certificates that it takes (RFC 8422, 5.1), and ours is P-256.
    CHECK_INT(agree(&rig, "other.example", TLS1_3_VERSION, p384).group, SSL_GROUP_SECP384R1);
    CHECK(!agree(&rig, "other.example", TLS1_2_VERSION, p384).open);
    CHECK_STR(agree(&rig, "localhost", TLS1_3_VERSION, p384).error,
              "no key exchange group in common with the client");
    CHECK_INT(agree(&rig, "other.example", 0, NULL).group, SSL_GROUP_X25519_MLKEM768);
    rig_end(&rig);
}

// The protocol that the client was told: "" for none, NULL for a refusal.
static const char *told(struct rig *rig, const char *name, const char *offers, uint16_t version) {
    static char text[16];
    struct pair pair;
    const uint8_t *alpn;
    unsigned len;
    struct sl_tls_info info;
    SL_ASSERT(pair_open(&pair, &(struct options){.ctx = rig->ctx, .server_name = name, .alpn = offers, .client_max = version}));
    pump(&pair);
    bool open = sl_tls_state(pair.tls) == SL_TLS_OPEN;
    SSL_get0_alpn_selected(pair.client, &alpn, &len);
    snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)alpn);
    sl_tls_info(pair.tls, &info);
    CHECK(!open || strcmp(info.alpn, text) == 0);
    pair_close(&pair);
    return open ? text : NULL;
}

TEST(alpn_is_of_the_server_name) {
    struct rig rig;
    rig_start(&rig, (struct sl_tls_policy[NAMES]){{0}, {.alpn_off = 1}});
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        CHECK_STR(told(&rig, "localhost", "\x02h2\x08http/1.1", version), "http/1.1");
        CHECK(!told(&rig, "localhost", "\x02h2", version));
        CHECK_STR(told(&rig, "localhost", NULL, version), "");
        CHECK_STR(told(&rig, "other.example", "\x02h2\x08http/1.1", version), "");
        CHECK_STR(told(&rig, "other.example", "\x02h2", version), "");
        CHECK_STR(told(&rig, "other.example", NULL, version), "");
    }
    rig_end(&rig);
}

TEST(a_gateway_takes_only_rows_that_it_can_keep) {
    struct sl_config config = {.workers = 1};
    uint8_t pem[8192];
    uint32_t cert_len;
    int pem_len = sl_certificate_make(pem, sizeof(pem));
    memcpy(&cert_len, pem, 4);
    int gateway = sl_gateway_new((uint8_t *)&config, sizeof(config));
    REQUIRE(gateway >= 0);
    int set = sl_gateway_certificate((uint32_t)gateway, SL_SET_NEW, pem + 4, cert_len, pem + 4 + cert_len,
                                     (size_t)pem_len - 4 - cert_len, NULL, 0);
    static const struct {
        struct sl_handshake row;
        int rc;
    } rows[] = {
        {{.version_min = 0x0304, .group_count = 2, .groups = {29, 25}}, SL_OK},
        {{.version_min = 0x0302, .group_count = 1, .groups = {29}}, SL_E_TLS_CONFIG},
        {{.version_min = 0x0304, .group_count = 0, .groups = {29}}, SL_E_TLS_CONFIG},
        {{.version_min = 0x0304, .group_count = 7, .groups = {29}}, SL_E_TLS_CONFIG},
        {{.version_min = 0x0304, .group_count = 1, .groups = {30}}, SL_E_TLS_CONFIG},
        {{.version_min = 0x0304, .group_count = 1, .groups = {0x1001d}}, SL_E_TLS_CONFIG},
        {{.version_min = 0x0304, .group_count = 1, .groups = {29}, .alpn_off = 1}, SL_OK},
        {{.version_min = 0x0304, .group_count = 1, .groups = {29}, .alpn_off = 2}, SL_E_TLS_CONFIG},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        const uint8_t *row = (const uint8_t *)&rows[i].row;
        CHECK_MSG(sl_gateway_handshake((uint32_t)gateway, (uint32_t)set, 0, row, sizeof(rows[i].row)) == rows[i].rc,
                  "row %zu", i);
        CHECK_INT(sl_gateway_handshake((uint32_t)gateway, 9, 0, row, sizeof(rows[i].row)), SL_E_STATE);
        CHECK_INT(sl_gateway_handshake((uint32_t)gateway, (uint32_t)set, 0, row, 8), SL_E_STATE);
    }
    CHECK_INT(sl_gateway_free((uint32_t)gateway), SL_OK);
}
