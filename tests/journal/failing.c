/* A disk that fails when it is told to, and that remembers what had reached it when the power went.

   Loaded before libc, it sees every write and sync of one folder, whoever makes it. The Nth of them fails (half of a
   write is done before), once or from then on, or it ends the process. What was synced is kept in a second folder:
   bytes by file, names by the syncs of the folder itself. A sync that fails drops what it should have written, as
   Linux does: a later one succeeds without it. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE = 0, SYNC = 1 };
enum { FILES = 64, RANGES = 4096, NAMES = 32 };

struct range { off_t from, to; };
struct file { ino_t inode; int is_live, count; struct range dirty[RANGES]; };
struct name { char text[256]; int file; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX], platter[PATH_MAX];
static struct file files[FILES];
static int file_count;
static struct name names[NAMES];
static int name_count;
static long counts[2], failures, fail_at;
static int fail_kind, fail_error, fail_for_ever, fail_is_death;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void find_the_real_ones(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
}

/* -- what the test asks for ------------------------------------------------------------------------------------ */

void disk_watch(const char *of, const char *synced) {
    pthread_mutex_lock(&lock);
    snprintf(folder, sizeof folder, "%s", of);
    snprintf(platter, sizeof platter, "%s", synced);
    file_count = name_count = 0;
    counts[WRITE] = counts[SYNC] = failures = fail_at = 0;
    pthread_mutex_unlock(&lock);
}

void disk_fail(int kind, long nth, int error, int for_ever, int is_death) {
    pthread_mutex_lock(&lock);
    fail_kind = kind, fail_at = nth, fail_error = error, fail_for_ever = for_ever, fail_is_death = is_death;
    pthread_mutex_unlock(&lock);
}

void disk_mend(void) { disk_fail(0, 0, 0, 0, 0); }
long disk_count(int kind) { return counts[kind]; }
long disk_failures(void) { return failures; }

/* Put into a new folder what would be there after a power cut at this moment. */
int disk_cut_power(const char *to) {
    char from[PATH_MAX + 32], at[3 * PATH_MAX], block[65536];
    int result = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < name_count && !result; i++) {
        snprintf(from, sizeof from, "%s/%d", platter, names[i].file);
        snprintf(at, sizeof at, "%s/%s", to, names[i].text);
        int in = open(from, O_RDONLY), out = open(at, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ssize_t got;
        off_t place = 0;
        if (out < 0) result = errno;
        while (in >= 0 && out >= 0 && (got = real_pread(in, block, sizeof block, place)) > 0) {
            if (real_pwrite(out, block, got, place) != got) result = EIO;
            place += got;
        }
        if (in >= 0) close(in);
        if (out >= 0) close(out);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* -- what is watched ------------------------------------------------------------------------------------------- */

static int is_watched(int fd) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    size_t whole = strlen(folder);
    return !strncmp(path, folder, whole) && (path[whole] == '/' || !path[whole]);
}

static int file_of(ino_t inode) {
    for (int i = file_count - 1; i >= 0; i--)
        if (files[i].is_live && files[i].inode == inode) return i;
    if (file_count == FILES) abort();
    files[file_count] = (struct file){.inode = inode, .is_live = 1};
    return file_count++;
}

static void touched(int fd, off_t from, off_t to) {
    struct stat found;
    if (fstat(fd, &found)) return;
    struct file *one = &files[file_of(found.st_ino)];
    if (one->count && one->dirty[one->count - 1].to == from) {
        one->dirty[one->count - 1].to = to;
        return;
    }
    if (one->count == RANGES) abort();
    one->dirty[one->count++] = (struct range){from, to};
}

static void forgotten(const char *path) {
    struct stat found;
    if (!folder[0] || strncmp(path, folder, strlen(folder)) || stat(path, &found)) return;
    for (int i = 0; i < file_count; i++)
        if (files[i].inode == found.st_ino && found.st_nlink == 1) files[i].is_live = 0;
}

static void keep_names(void) {
    DIR *listing = opendir(folder);
    struct dirent *entry;
    if (!listing) return;
    name_count = 0;
    while ((entry = readdir(listing)))
        if (entry->d_type == DT_REG && !strstr(entry->d_name, "-shm")) {
            if (name_count == NAMES) abort();
            snprintf(names[name_count].text, sizeof names[0].text, "%s", entry->d_name);
            names[name_count++].file = file_of(entry->d_ino);
        }
    closedir(listing);
}

static void keep_bytes(int fd, int is_kept) {
    static char block[1 << 16];
    char at[PATH_MAX + 32];
    struct stat found;
    if (fstat(fd, &found)) return;
    if (S_ISDIR(found.st_mode)) {
        if (is_kept) keep_names();
        return;
    }
    int index = file_of(found.st_ino);
    struct file *one = &files[index];
    if (is_kept) {
        snprintf(at, sizeof at, "/proc/self/fd/%d", fd); /* fd itself may be for writing only */
        int in = open(at, O_RDONLY);
        snprintf(at, sizeof at, "%s/%d", platter, index);
        int out = open(at, O_WRONLY | O_CREAT, 0600);
        if (in < 0 || out < 0) abort();
        for (int i = 0; i < one->count; i++)
            for (off_t place = one->dirty[i].from; place < one->dirty[i].to;) {
                size_t most = one->dirty[i].to - place;
                ssize_t got = real_pread(in, block, most < sizeof block ? most : sizeof block, place);
                if (got <= 0) break;
                if (real_pwrite(out, block, got, place) != got) abort();
                place += got;
            }
        if (real_ftruncate(out, found.st_size)) abort();
        close(in);
        close(out);
    }
    one->count = 0;
}

/* Count a call; true if it is one that fails. */
static int fails(int kind) {
    counts[kind]++;
    if (!fail_at || kind != fail_kind) return 0;
    if (counts[kind] < fail_at || (counts[kind] > fail_at && !fail_for_ever)) return 0;
    failures++;
    return 1;
}

/* -- what is in the way ---------------------------------------------------------------------------------------- */

static ssize_t writing(int fd, const void *data, size_t size, off_t place, int has_place) {
    pthread_mutex_lock(&lock);
    int is_ours = is_watched(fd), bad = is_ours && fails(WRITE);
    size_t taken = bad ? size / 2 : size;
    off_t from = has_place ? place : lseek(fd, 0, SEEK_CUR);
    ssize_t done = has_place ? real_pwrite(fd, data, taken, place) : real_write(fd, data, taken);
    int error = errno;
    if (is_ours && done > 0) touched(fd, from, from + done);
    if (bad && fail_is_death) _exit(77);
    if (bad) done = -1, error = fail_error;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static int cutting(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    int bad = is_watched(fd) && fails(WRITE), error = fail_error;
    if (bad && fail_is_death) _exit(77);
    int done = bad ? -1 : real_ftruncate(fd, size);
    if (!bad) error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static int syncing(int fd, int (*real)(int)) {
    pthread_mutex_lock(&lock);
    int is_ours = is_watched(fd), bad = is_ours && fails(SYNC), error = fail_error;
    if (bad && fail_is_death) _exit(77);
    int done = bad ? -1 : is_ours ? 0 : real(fd);
    if (!is_ours) error = errno;
    if (is_ours) keep_bytes(fd, !bad);
    pthread_mutex_unlock(&lock);
    if (done) errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    return folder[0] ? writing(fd, data, size, 0, 0) : real_write(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t place) { return writing(fd, data, size, place, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t place) { return writing(fd, data, size, place, 1); }
int ftruncate(int fd, off_t size) { return cutting(fd, size); }
int ftruncate64(int fd, off_t size) { return cutting(fd, size); }
int fsync(int fd) { return syncing(fd, real_fsync); }
int fdatasync(int fd) { return syncing(fd, real_fdatasync); }

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    forgotten(path);
    int done = real_unlink(path), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    forgotten(to);
    int done = real_rename(from, to), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
