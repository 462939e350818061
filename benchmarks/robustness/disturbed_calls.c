/* Fails, or kills the process at, the n-th call of an operation on files below a folder. See disturbed_calls.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, FSYNC, RENAME, MKDIR, UNLINK, KINDS };
static char folder[4096];
static int wanted = -1, error_number, killing;
static long at, seen[KINDS];

void fault_arm(const char *below, int kind, long number, int error, int kills) {
  memset(seen, 0, sizeof seen);
  strncpy(folder, below, sizeof folder - 1);
  wanted = kind, at = number, error_number = error, killing = kills;
}
long fault_seen(int kind) { return seen[kind]; }

static int below(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }
static int fd_below(int fd) {
  char link[64], path[4096];
  if (!folder[0] || fd <= 2) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return below(path);
}
static int faulty(int kind) {
  if (__sync_add_and_fetch(&seen[kind], 1) != at || kind != wanted) return 0;
  if (killing) kill(getpid(), SIGKILL);
  errno = error_number;
  return 1;
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define OPENS(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    REAL(name); if (below(path) && faulty(OPEN)) return -1; return real(path, flags, mode); }
#define OPENS_AT(name) \
  int name(int at_fd, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    REAL(name); if (below(path) && faulty(OPEN)) return -1; return real(at_fd, path, flags, mode); }
#define FOPENS(name) \
  FILE *name(const char *path, const char *mode) { REAL(name); if (below(path) && faulty(OPEN)) return NULL; return real(path, mode); }
OPENS(open) OPENS(open64) OPENS_AT(openat) OPENS_AT(openat64) FOPENS(fopen) FOPENS(fopen64)
ssize_t read(int fd, void *to, size_t size) { REAL(read); if (fd_below(fd) && faulty(READ)) return -1; return real(fd, to, size); }
ssize_t pread64(int fd, void *to, size_t size, off64_t from) { REAL(pread64); if (fd_below(fd) && faulty(READ)) return -1; return real(fd, to, size, from); }
ssize_t write(int fd, const void *what, size_t size) { REAL(write); if (fd_below(fd) && faulty(WRITE)) return -1; return real(fd, what, size); }
int fsync(int fd) { REAL(fsync); if (fd_below(fd) && faulty(FSYNC)) return -1; return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); if (fd_below(fd) && faulty(FSYNC)) return -1; return real(fd); }
int rename(const char *from, const char *to) { REAL(rename); if (below(from) && faulty(RENAME)) return -1; return real(from, to); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); if (below(path) && faulty(MKDIR)) return -1; return real(path, mode); }
int unlink(const char *path) { REAL(unlink); if (below(path) && faulty(UNLINK)) return -1; return real(path); }
