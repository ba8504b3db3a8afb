/*
 * Lets tests stop, fail, shorten or slow the Nth thing the server does to its disk.
 *
 * Preloaded into the server, it counts what changes files below FAULT_PREFIX, in the whole process and in one order, and
 * asks the control file FAULT_CONTROL what is to happen:
 *
 *     SEQUENCE ACTION AT ARGUMENT
 *
 * A new sequence number begins the count anew. At count AT, or at every one from there on where ACTION ends in `+`:
 *
 *     kill      the process is killed before the operation
 *     after     it is killed after it
 *     fail      the operation fails with errno ARGUMENT
 *     short     a write takes one octet (other operations are not affected, and not counted as hit)
 *     lie       a sync does nothing and says that all went well
 *     slow      the operation takes ARGUMENT microseconds longer
 *     count     nothing
 *     open      the process is killed when a file whose name contains ARGUMENT is opened
 *
 * What was hit is appended to FAULT_CONTROL.hit: `SEQUENCE COUNT OPERATION PATH`. Operations are `create`, `write`,
 * `sync`, `syncdir`, `rename`, `link`, `unlink`, `truncate`. Only what goes through the C library is seen, which is all
 * that Rust's standard library does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char paths[FILES][512];
static long count;
static long sequence = -1;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_linkat)(int, const char *, int, const char *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_close)(int);

static void find(void)
{
    if (real_close)
        return;
    real_open = dlsym(RTLD_NEXT, "open64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_linkat = dlsym(RTLD_NEXT, "linkat");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_close = dlsym(RTLD_NEXT, "close");
}

static int ours(const char *path)
{
    const char *prefix = getenv("FAULT_PREFIX");
    return prefix && path && strncmp(path, prefix, strlen(prefix)) == 0;
}

static const char *path_of(int fd)
{
    return fd >= 0 && fd < FILES && paths[fd][0] ? paths[fd] : NULL;
}

/* What is to happen at this operation: 0 nothing, 1 die before, 2 die after, 3 fail, 4 short, 5 slow,
 * 6 lie. */
struct order {
    int what;
    long argument;
};

static int control(long *seq, char *action, size_t size, long *at, char *argument, size_t argument_size)
{
    const char *name = getenv("FAULT_CONTROL");
    char text[512];
    char word[64];
    char rest[256] = "";
    if (!name)
        return 0;
    int fd = real_open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    real_close(fd);
    if (length <= 0)
        return 0;
    text[length] = 0;
    if (sscanf(text, "%ld %63s %ld %255s", seq, word, at, rest) < 3)
        return 0;
    snprintf(action, size, "%s", word);
    snprintf(argument, argument_size, "%s", rest);
    return 1;
}

static void note(long seq, long at, const char *operation, const char *path)
{
    char name[512];
    char line[1024];
    snprintf(name, sizeof name, "%s.hit", getenv("FAULT_CONTROL"));
    int fd = real_open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%ld %ld %s %s\n", seq, at, operation, path);
    if (real_write(fd, line, length) < 0) { }
    real_close(fd);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static struct order next(const char *operation, const char *path)
{
    struct order order = { 0, 0 };
    char action[64];
    char argument[256];
    long seq, at;
    int saved = errno;
    pthread_mutex_lock(&lock);
    if (control(&seq, action, sizeof action, &at, argument, sizeof argument)) {
        if (seq != sequence) {
            sequence = seq;
            count = 0;
        }
        count += 1;
        size_t length = strlen(action);
        int on = length && action[length - 1] == '+';
        if (on)
            action[length - 1] = 0;
        if (count == at || (on && count > at)) {
            order.argument = atol(argument);
            if (!strcmp(action, "kill"))
                order.what = 1;
            else if (!strcmp(action, "after"))
                order.what = 2;
            else if (!strcmp(action, "fail"))
                order.what = 3;
            else if (!strcmp(action, "short") && !strcmp(operation, "write"))
                order.what = 4;
            else if (!strcmp(action, "slow"))
                order.what = 5;
            else if (!strcmp(action, "lie") && !strncmp(operation, "sync", 4))
                order.what = 6;
        }
        if (order.what || !strcmp(action, "count"))
            note(seq, count, operation, path);
    }
    pthread_mutex_unlock(&lock);
    if (order.what == 1)
        die();
    if (order.what == 5)
        usleep(order.argument);
    errno = saved;
    return order;
}

#define REFUSE(order)                 \
    if ((order).what == 3) {          \
        errno = (int)(order).argument; \
        return -1;                    \
    }

static int opened(const char *path, int flags, mode_t mode)
{
    find();
    if (!ours(path))
        return real_open(path, flags, mode);
    struct order order = { 0, 0 };
    char action[64];
    char argument[256];
    long seq, at;
    if (control(&seq, action, sizeof action, &at, argument, sizeof argument) && !strcmp(action, "open")) {
        if (strstr(path, argument)) {
            note(seq, 0, "open", path);
            die();
        }
    } else if (flags & O_CREAT) {
        order = next("create", path);
        REFUSE(order)
    }
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FILES)
        snprintf(paths[fd], sizeof paths[fd], "%s", path);
    if (order.what == 2)
        die();
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return opened(path, flags, mode);
}

int close(int fd)
{
    find();
    if (fd >= 0 && fd < FILES)
        paths[fd][0] = 0;
    return real_close(fd);
}

ssize_t write(int fd, const void *octets, size_t length)
{
    find();
    if (!path_of(fd))
        return real_write(fd, octets, length);
    struct order order = next("write", path_of(fd));
    REFUSE(order)
    ssize_t written = real_write(fd, octets, order.what == 4 && length > 1 ? 1 : length);
    if (order.what == 2)
        die();
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int number)
{
    find();
    if (!path_of(fd))
        return real_writev(fd, parts, number);
    struct order order = next("write", path_of(fd));
    REFUSE(order)
    ssize_t written = order.what == 4 && number > 0 && parts[0].iov_len > 1 ? real_write(fd, parts[0].iov_base, 1)
                                                                            : real_writev(fd, parts, number);
    if (order.what == 2)
        die();
    return written;
}

static const char *kind(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? "syncdir" : "sync";
}

int fsync(int fd)
{
    find();
    if (!path_of(fd))
        return real_fsync(fd);
    struct order order = next(kind(fd), path_of(fd));
    REFUSE(order)
    int result = order.what == 6 ? 0 : real_fsync(fd);
    if (order.what == 2)
        die();
    return result;
}

int fdatasync(int fd)
{
    find();
    if (!path_of(fd))
        return real_fdatasync(fd);
    struct order order = next("sync", path_of(fd));
    REFUSE(order)
    int result = order.what == 6 ? 0 : real_fdatasync(fd);
    if (order.what == 2)
        die();
    return result;
}

int rename(const char *from, const char *to)
{
    find();
    if (!ours(from))
        return real_rename(from, to);
    struct order order = next("rename", to);
    REFUSE(order)
    int result = real_rename(from, to);
    if (order.what == 2)
        die();
    return result;
}

int unlink(const char *path)
{
    find();
    if (!ours(path))
        return real_unlink(path);
    struct order order = next("unlink", path);
    REFUSE(order)
    int result = real_unlink(path);
    if (order.what == 2)
        die();
    return result;
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    find();
    if (!ours(from))
        return real_linkat(from_fd, from, to_fd, to, flags);
    struct order order = next("link", to);
    REFUSE(order)
    int result = real_linkat(from_fd, from, to_fd, to, flags);
    if (order.what == 2)
        die();
    return result;
}

int ftruncate64(int fd, off_t length)
{
    find();
    if (!path_of(fd))
        return real_ftruncate(fd, length);
    struct order order = next("truncate", path_of(fd));
    REFUSE(order)
    int result = real_ftruncate(fd, length);
    if (order.what == 2)
        die();
    return result;
}
