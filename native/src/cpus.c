#include "cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define CPUS_MAX 4096
#define PATH_BYTES 1024

// The first line of a file, without its end. False: it cannot be read.
static bool read_line(const char *root, const char *folder, const char *name, char *out,
                      size_t len) {
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
    FILE *file = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;
    bool ok = file && fgets(out, (int)len, file);
    if (ok) {
        out[strcspn(out, "\n")] = 0;
    }
    if (file) {
        fclose(file);
    }
    return ok;
}

// "0-3,8": whether `cpu` is in the list.
static bool in_list(const char *list, uint32_t cpu) {
    while (*list >= '0' && *list <= '9') {
        char *end;
        unsigned long first = strtoul(list, &end, 10);
        unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
        if (cpu >= first && cpu <= last) {
            return true;
        }
        list = *end == ',' ? end + 1 : end;
    }
    return false;
}

static double quota_v2(const char *root, const char *folder) {
    char text[64];
    double quota = 0, period = 100000;
    bool limited = read_line(root, folder, "cpu.max", text, sizeof(text)) &&
                   sscanf(text, "%lf %lf", &quota, &period) >= 1; // "max 100000" is no number
    return limited && quota > 0 && period > 0 ? quota / period : 0;
}

static double quota_v1(const char *root, const char *folder) {
    char quota[64], period[64];
    bool ok = read_line(root, folder, "cpu.cfs_quota_us", quota, sizeof(quota)) &&
              read_line(root, folder, "cpu.cfs_period_us", period, sizeof(period));
    return ok && atof(quota) > 0 && atof(period) > 0 ? atof(quota) / atof(period) : 0;
}

static bool partition_v2(const char *root, const char *folder, char *out_cpus, size_t len) {
    char state[64];
    return read_line(root, folder, "cpuset.cpus.partition", state, sizeof(state)) &&
           (strcmp(state, "root") == 0 || strcmp(state, "isolated") == 0) &&
           read_line(root, folder, "cpuset.cpus.effective", out_cpus, len);
}

struct cgroups {
    const char *root;
    double quota;        // the tightest so far; 0: none
    char exclusive[256]; // CPUs of a partition
    bool has_exclusive;
};

// A group's limits are those of all groups above it, too. In a container the path may be the host's: what is not there is skipped.
static void walk(struct cgroups *c, const char *mount, const char *group, bool v2) {
    char folder[PATH_BYTES];
    int n = snprintf(folder, sizeof(folder), "%s%s", mount, strcmp(group, "/") ? group : "");
    if (n < 0 || (size_t)n >= sizeof(folder)) {
        return;
    }
    for (size_t end = strlen(folder);; end--) {
        folder[end] = 0;
        double quota = v2 ? quota_v2(c->root, folder) : quota_v1(c->root, folder);
        if (quota > 0 && (c->quota == 0 || quota < c->quota)) {
            c->quota = quota;
        }
        if (v2 && !c->has_exclusive) {
            c->has_exclusive = partition_v2(c->root, folder, c->exclusive, sizeof(c->exclusive));
        }
        if (end <= strlen(mount)) {
            return;
        }
        while (folder[end - 1] != '/') {
            end--;
        }
    }
}

static bool has_word(const char *words, const char *word) {
    size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += len) {
        bool begins = at == words || at[-1] == ',', ends = at[len] == ',' || at[len] == 0;
        if (begins && ends) {
            return true;
        }
    }
    return false;
}

// Lines "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1).
static void read_cgroups(struct cgroups *c) {
    char path[PATH_BYTES], line[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", c->root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = 0;
        names++;
        if (*names == 0) {
            walk(c, "/sys/fs/cgroup", group, true);
            walk(c, "/sys/fs/cgroup/unified", group, true);
        } else if (has_word(names, "cpu")) {
            walk(c, "/sys/fs/cgroup/cpu", group, false);
            walk(c, "/sys/fs/cgroup/cpu,cpuacct", group, false);
        }
    }
    if (file) {
        fclose(file);
    }
}

static void read_affinity(struct sl_cpus *cpus) {
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    if (set && sched_getaffinity(0, bytes, set) == 0) {
        for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
            if (CPU_ISSET_S(cpu, bytes, set)) {
                if (cpus->count < SL_CPUS_PINS_MAX) {
                    cpus->pins[cpus->count] = cpu;
                }
                cpus->count++;
            }
        }
    }
    CPU_FREE(set);
    cpus->count = cpus->count ? cpus->count : 1;
}

static bool all_in(const struct sl_cpus *cpus, const char *list) {
    bool all = *list != 0 && cpus->count <= SL_CPUS_PINS_MAX;
    for (uint32_t i = 0; all && i < cpus->count; i++) {
        all = in_list(list, cpus->pins[i]);
    }
    return all;
}

void sl_cpus_read(struct sl_cpus *cpus, const char *root) {
    struct cgroups cgroups = {.root = root};
    char isolated[256] = "";
    memset(cpus, 0, sizeof(*cpus));
    read_affinity(cpus);
    read_cgroups(&cgroups);
    cpus->quota = cgroups.quota;
    cpus->workers = sl_min_u32(cpus->count, SL_CPUS_PINS_MAX);
    if (cpus->quota > 0 && cpus->quota < 1.5) {
        cpus->workers = 1; // two would only use up each other's time
    } else if (cpus->quota > 0 && cpus->quota < cpus->workers) {
        uint32_t whole = (uint32_t)cpus->quota;
        cpus->workers = whole + (cpus->quota > whole);
    }
    if (read_line(root, "/sys/devices/system/cpu", "isolated", isolated, sizeof(isolated)) &&
        all_in(cpus, isolated)) {
        cpus->exclusive = "isolcpus";
    } else if (cgroups.has_exclusive && all_in(cpus, cgroups.exclusive)) {
        cpus->exclusive = "cpuset partition";
    }
}

size_t sl_cpus_text(const struct sl_cpus *cpus, char *out, size_t len) {
    char quota[48] = "";
    if (cpus->quota > 0) {
        snprintf(quota, sizeof(quota), "; cgroup quota %.4g", cpus->quota);
    }
    int n = snprintf(out, len, "%u CPU%s%s", cpus->count, cpus->count == 1 ? "" : "s", quota);
    return n < 0 ? 0 : sl_min_size((size_t)n, len ? len - 1 : 0);
}
