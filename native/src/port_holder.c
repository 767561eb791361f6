#include "port_holder.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TCP_LISTEN 0x0a

// Inode of the listening or bound socket of that port in /proc/net/tcp or tcp6; 0: none.
static unsigned long inode_in(const char *path, uint16_t port) {
    char line[512];
    unsigned long found = 0;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        unsigned local_port, state;
        unsigned long inode;
        // sl local:port remote:port st tx:rx tr:when retrnsmt uid timeout inode
        int n = sscanf(
            line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
            &local_port, &state, &inode);
        if (n == 3 && local_port == port && state == TCP_LISTEN) {
            found = inode;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

static bool holds(const char *pid, const char *wanted) {
    char path[600], target[64];
    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    bool found = false;
    struct dirent *entry;
    while (dir && !found && (entry = readdir(dir))) {
        snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n > 0) {
            target[n] = 0;
            found = strcmp(target, wanted) == 0;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

static void name_of(const char *pid, char *out, size_t len) {
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    FILE *file = fopen(path, "re");
    out[0] = 0;
    if (file && fgets(out, (int)len, file)) {
        out[strcspn(out, "\n")] = 0;
    }
    if (file) {
        fclose(file);
    }
}

void sl_port_holder(uint16_t port, char *out, size_t len) {
    char wanted[64], name[64];
    out[0] = 0;
    unsigned long inode = inode_in("/proc/net/tcp", port);
    inode = inode ? inode : inode_in("/proc/net/tcp6", port);
    if (!inode) {
        return;
    }
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (isdigit((unsigned char)entry->d_name[0]) && holds(entry->d_name, wanted)) {
            name_of(entry->d_name, name, sizeof(name));
            snprintf(out, len, " (held by pid %s, %s)", entry->d_name, name);
            break;
        }
    }
    if (dir) {
        closedir(dir);
    }
}
