#include "cpus.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

// A folder that looks like /.
static char root[64];

static void put(const char *path, const char *text) {
    char whole[512];
    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(whole, 0700);
        *at = '/';
    }
    FILE *file = fopen(whole, "w");
    REQUIRE(file);
    fputs(text, file);
    fclose(file);
}

static void begin(void) {
    strcpy(root, "/tmp/sluice-cpus-XXXXXX");
    REQUIRE(mkdtemp(root));
}

static void end(void) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", root);
    CHECK_INT(system(command), 0);
}

static void set_affinity(uint32_t from, uint32_t count, const struct sl_cpus *all) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = from; i < from + count; i++) {
        CPU_SET(all->pins[i], &set);
    }
    CHECK_INT(sched_setaffinity(0, sizeof(set), &set), 0);
}

TEST(without_limits_there_are_as_many_workers_as_cpus) {
    struct sl_cpus cpus, one;
    char text[96];
    begin(); // nothing in it: no /proc, no /sys
    sl_cpus_read(&cpus, root);
    CHECK(cpus.count >= 1);
    CHECK_INT(cpus.workers, cpus.count < 64 ? cpus.count : 64);
    CHECK(cpus.quota == 0 && !cpus.exclusive);
    set_affinity(cpus.count - 1, 1, &cpus);
    sl_cpus_read(&one, root);
    CHECK_INT(one.count, 1);
    CHECK_INT(one.workers, 1);
    CHECK_INT(one.pins[0], cpus.pins[cpus.count - 1]);
    CHECK_INT(sl_cpus_text(&one, text, sizeof(text)), 5);
    CHECK_STR(text, "1 CPU");
    set_affinity(0, cpus.count, &cpus);
    end();
}

TEST(the_cgroups_quota_is_the_tightest_of_all_groups_above) {
    static const struct {
        const char *groups, *path1, *text1, *path2, *text2;
        double quota;
    } rows[] = {
        {"0::/\n", "/sys/fs/cgroup/cpu.max", "150000 100000\n", NULL, NULL, 1.5}, // a container with its own namespace
        {"0::/\n", "/sys/fs/cgroup/cpu.max", "max 100000\n", NULL, NULL, 0},
        {"0::/\n", "/sys/fs/cgroup/cpu.max", "", NULL, NULL, 0},
        {"0::/\n", "/sys/fs/cgroup/cpu.max", "50000\n", NULL, NULL, 0.5}, // the period is optional to write
        {"0::/a.slice/b\n", "/sys/fs/cgroup/a.slice/b/cpu.max", "max 100000\n", "/sys/fs/cgroup/a.slice/cpu.max", "40000 20000\n", 2},
        {"0::/a.slice/b\n", "/sys/fs/cgroup/a.slice/b/cpu.max", "100000 100000\n", "/sys/fs/cgroup/a.slice/cpu.max", "400000 100000\n", 1},
        {"0::/docker/0123\n", "/sys/fs/cgroup/cpu.max", "120000 100000\n", NULL, NULL, 1.2}, // the host's path in a container
        {"1:name=systemd:/\n0::/../x\n", "/sys/fs/cgroup/unified/cpu.max", "250000 100000\n", NULL, NULL, 2.5},
        {"4:memory:/m\n3:cpu,cpuacct:/d/c\n0::/\n", "/sys/fs/cgroup/cpu,cpuacct/d/c/cpu.cfs_quota_us", "130000\n",
         "/sys/fs/cgroup/cpu,cpuacct/d/c/cpu.cfs_period_us", "100000\n", 1.3},
        {"3:cpuset:/x\n2:cpu:/\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", 0},
        {"3:cpuset:/x\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "10\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100\n", 0}, // not its controller
        {"no colon\n::\n0::/\n", "/sys/fs/cgroup/cpu.max", "what 3 is this\n", NULL, NULL, 0},
    };
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_cpus cpus;
        begin();
        put("/proc/self/cgroup", rows[i].groups);
        put(rows[i].path1, rows[i].text1);
        if (rows[i].path2) {
            put(rows[i].path2, rows[i].text2);
        }
        sl_cpus_read(&cpus, root);
        CHECK_MSG(cpus.quota == rows[i].quota, "row %zu: %g, expected %g", i, cpus.quota, rows[i].quota);
        end();
    }
}

TEST(a_quota_under_one_and_a_half_is_one_worker_else_it_is_rounded_up) {
    static const struct {
        const char *max;
        uint32_t workers; // at most; 0: no limit
    } rows[] = {{"1000 100000", 1}, {"149999 100000", 1}, {"150000 100000", 2}, {"200000 100000", 2}, {"200001 100000", 3}, {"6400000 100000", 0}};
    for (size_t i = 0; i < SL_COUNT_OF(rows); i++) {
        struct sl_cpus cpus;
        char text[96];
        begin();
        put("/proc/self/cgroup", "0::/\n");
        put("/sys/fs/cgroup/cpu.max", rows[i].max);
        sl_cpus_read(&cpus, root);
        uint32_t most = cpus.count < 64 ? cpus.count : 64;
        CHECK_INT(cpus.workers, rows[i].workers && rows[i].workers < most ? rows[i].workers : most);
        sl_cpus_text(&cpus, text, sizeof(text));
        CHECK_MSG(strstr(text, "; cgroup quota "), "%s", text);
        end();
    }
}

TEST(cpus_are_exclusive_only_if_all_of_ours_are) {
    struct sl_cpus all;
    char mine[16], list[64];
    sl_cpus_read(&all, "");
    snprintf(mine, sizeof(mine), "%u", all.pins[0]);
    snprintf(list, sizeof(list), "%u-%u,4000", all.pins[0], all.pins[0]);
    static const char *const states[] = {"root", "isolated", "member", "root invalid (Parent is not a partition root)"};
    set_affinity(0, 1, &all);
    for (size_t i = 0; i < SL_COUNT_OF(states); i++) {
        struct sl_cpus cpus;
        begin();
        put("/proc/self/cgroup", "0::/p/q\n");
        put("/sys/fs/cgroup/p/cpuset.cpus.partition", states[i]);
        put("/sys/fs/cgroup/p/cpuset.cpus.effective", list);
        sl_cpus_read(&cpus, root);
        CHECK_MSG((cpus.exclusive != NULL) == (i < 2), "%s", states[i]);
        put("/sys/fs/cgroup/p/cpuset.cpus.effective", "4000-4001");
        sl_cpus_read(&cpus, root);
        CHECK(!cpus.exclusive);
        put("/sys/devices/system/cpu/isolated", mine);
        sl_cpus_read(&cpus, root);
        CHECK(cpus.exclusive && strcmp(cpus.exclusive, "isolcpus") == 0);
        put("/sys/devices/system/cpu/isolated", "\n");
        sl_cpus_read(&cpus, root);
        CHECK(!cpus.exclusive);
        end();
    }
    set_affinity(0, all.count, &all);
}
