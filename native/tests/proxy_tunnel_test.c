// WebSockets through a proxy: the tunnel's rows (proxy_tunnels.h), and what makes a tunnel.

#include "proxy_tunnels.h"

TEST(tunnels_on_every_kernel) {
    EACH_KERNEL(kernel) {
        for (size_t i = 0; i < SL_COUNT_OF(tunnels); i++) {
            if (chosen(&tunnels[i])) {
                run_row(&tunnels[i]);
            }
        }
        printf("# %s: %zu rows\n", kernel->name, SL_COUNT_OF(tunnels));
    }
}

// One text in two parts: each text of each script at each third byte, from the first, second or third on.
TEST(tunnels_split) {
    for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels); kernel++) {
        REQUIRE(open_on(kernel));
        size_t first = 1 + (size_t)time(NULL) % 3;
        for (size_t i = 0; i < SL_COUNT_OF(tunnels) && !test_failures; i++) {
            for (uint32_t text = 0; !exact(&tunnels[i]) && text < 8 && !test_failures; text++) {
                struct split *split = &world.split;
                *split = (struct split){.upstream = text % 2, .number = text / 2, .at = first};
                do {
                    run_row(&tunnels[i]);
                    split->at += 3;
                } while (split->at < split->len && !test_failures);
            }
        }
        world.split = (struct split){0};
        world_close();
    }
}

// On kernels that do each call by halves.
TEST(tunnels_in_storms) {
    uint64_t from = (uint64_t)time(NULL);
    for (uint64_t seed = from; seed < from + 20 && !test_failures; seed++) {
        for (const struct kernel *kernel = kernels + 2; kernel < kernels + SL_COUNT_OF(kernels) && !test_failures; kernel++) {
            struct sl_sim *sim = sl_sim_new(&(struct sl_sim_config){
                .seed = seed, .stormy = true, .unbroken = true, .delay_ns = 1000, .send_bytes = 262144, .receive_bytes = 131072});
            REQUIRE(world_open(kernel->kind, sim, config, make_plan));
            world.patience = 30;
            for (size_t i = 0; i < SL_COUNT_OF(tunnels) && !test_failures; i++) {
                if (!exact(&tunnels[i])) {
                    run_row(&tunnels[i]);
                }
            }
            if (test_failures) {
                printf("  on %s, seed %llu\n", kernel->name, (unsigned long long)seed);
            }
            sl_sim_calm(sim);
            world.patience = 1;
            world_close();
        }
    }
}

TEST(a_connection_becomes_a_tunnel_only_by_a_handshake_and_its_proof) {
    EACH_KERNEL(kernel) {
        run_no_tunnels();
    }
}
