/*
 * System calls that Node has not: one call a line, one answer a line.
 *
 *   request   <id> <uid> <gid> <groups: a,b or -> <operation> <arguments>     uid -1: as this process
 *   answer    <id> = <values>      or      <id> ! <errno>
 *
 * Numbers are decimal; bytes (paths, names, data) are hexadecimal behind an 'x', so that 'x' is the empty string.
 * Started with the directory to stand in; ends with its standard input. SIGUSR1 interrupts a call that waits.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16
#define BUFFER_MAX (4 << 20)

static char *arg[ARGUMENTS_MAX];
static size_t arg_bytes[ARGUMENTS_MAX];
static int arg_count;
static char *buffer;
static int user = -1;

static void on_signal(int number) { (void)number; }

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Bytes of argument i, decoded in place once; a NUL follows them. */
static char *bytes(int i) {
  char *text = arg[i];
  if (text == NULL) { fprintf(stderr, "argument %d is missing\n", i); exit(2); }
  if (text[0] == 'x') {
    size_t count = strlen(text + 1) / 2;
    for (size_t k = 0; k < count; k++) text[k] = (char)(digit(text[1 + 2 * k]) * 16 + digit(text[2 + 2 * k]));
    text[count] = 0;
    arg_bytes[i] = count;
  }
  return text;
}
static long long number(int i) {
  if (arg[i] == NULL) { fprintf(stderr, "argument %d is missing\n", i); exit(2); }
  return strtoll(arg[i], NULL, 10);
}

static void put_bytes(const char *data, size_t count) {
  static const char hex[] = "0123456789abcdef";
  char out[8192];
  size_t used = 0;
  fputs(" x", stdout);
  for (size_t k = 0; k < count; k++) {
    if (used + 2 > sizeof out) { fwrite(out, 1, used, stdout); used = 0; }
    out[used++] = hex[(unsigned char)data[k] >> 4];
    out[used++] = hex[(unsigned char)data[k] & 15];
  }
  fwrite(out, 1, used, stdout);
}

static void put_stat(const struct stat *s) {
  printf(" %llu %u %llu %u %u %llu %lld %lld", (unsigned long long)s->st_ino, s->st_mode,
         (unsigned long long)s->st_nlink, s->st_uid, s->st_gid, (unsigned long long)s->st_rdev,
         (long long)s->st_size, (long long)s->st_blocks);
  printf(" %lld %ld %lld %ld %lld %ld", (long long)s->st_atim.tv_sec, s->st_atim.tv_nsec,
         (long long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec, (long long)s->st_ctim.tv_sec, s->st_ctim.tv_nsec);
}

struct dirent_of_kernel {
  uint64_t ino;
  int64_t off;
  unsigned short bytes;
  unsigned char type;
  char name[];
};
static void put_entries(long count) {
  for (long at = 0; at < count;) {
    struct dirent_of_kernel *e = (struct dirent_of_kernel *)(buffer + at);
    printf(" %llu %u", (unsigned long long)e->ino, (unsigned)e->type << 12);
    put_bytes(e->name, strlen(e->name));
    at += e->bytes;
  }
}

static short lock_type(const char *name) {
  return name[0] == 'r' ? F_RDLCK : name[0] == 'w' ? F_WRLCK : F_UNLCK;
}
static void times(int i, struct timespec *t) {
  for (int k = 0; k < 2; k++) {
    t[k].tv_sec = number(i + 2 * k);
    long nsec = number(i + 2 * k + 1);
    t[k].tv_nsec = nsec == -1 ? UTIME_NOW : nsec == -2 ? UTIME_OMIT : nsec;
  }
}

static struct stat found;
static struct statfs statistics;
static struct flock lock;
static struct timespec when[2];
static enum { NOTHING, NUMBER, BYTES, STAT, STATFS, ENTRIES, LOCK } answer;

static int is(const char *name) { return strcmp(arg[4], name) == 0; }

/* Calls that take paths. -2: not one of these. */
static long call_path(void) {
  answer = NOTHING;
  if (is("open")) { answer = NUMBER; return open(bytes(5), number(6) | O_CLOEXEC, number(7)); }
  if (is("stat")) { answer = STAT; return stat(bytes(5), &found); }
  if (is("lstat")) { answer = STAT; return lstat(bytes(5), &found); }
  if (is("mkdir")) return mkdir(bytes(5), number(6));
  if (is("rmdir")) return rmdir(bytes(5));
  if (is("unlink")) return unlink(bytes(5));
  if (is("rename")) {
    if (number(7) == 0) return rename(bytes(5), bytes(6));
    return syscall(SYS_renameat2, AT_FDCWD, bytes(5), AT_FDCWD, bytes(6), (unsigned)number(7));
  }
  if (is("link")) return link(bytes(5), bytes(6));
  if (is("symlink")) return symlink(bytes(5), bytes(6));
  if (is("readlink")) { answer = BYTES; return readlink(bytes(5), buffer, BUFFER_MAX); }
  if (is("mknod")) return mknod(bytes(5), number(6), number(7));
  if (is("chmod")) return chmod(bytes(5), number(6));
  if (is("chown")) return chown(bytes(5), number(6), number(7));
  if (is("lchown")) return lchown(bytes(5), number(6), number(7));
  if (is("utimens")) { times(6, when); return utimensat(AT_FDCWD, bytes(5), when, 0); }
  if (is("lutimens")) { times(6, when); return utimensat(AT_FDCWD, bytes(5), when, AT_SYMLINK_NOFOLLOW); }
  if (is("truncate")) return truncate(bytes(5), number(6));
  if (is("access")) return faccessat(AT_FDCWD, bytes(5), number(6), AT_EACCESS);
  if (is("statfs")) { answer = STATFS; return statfs(bytes(5), &statistics); }
  if (is("getxattr")) { answer = BYTES; return lgetxattr(bytes(5), bytes(6), buffer, BUFFER_MAX); }
  if (is("setxattr")) { bytes(7); return lsetxattr(bytes(5), bytes(6), arg[7], arg_bytes[7], number(8)); }
  if (is("listxattr")) { answer = BYTES; return llistxattr(bytes(5), buffer, BUFFER_MAX); }
  if (is("removexattr")) return lremovexattr(bytes(5), bytes(6));
  if (is("umask")) { answer = NUMBER; return umask(number(5)); }
  return -2;
}

static long call_map(int writes) {
  long long offset = number(6);
  bytes(7);
  size_t count = writes ? arg_bytes[7] : (size_t)number(7);
  long long start = offset & ~(long long)(sysconf(_SC_PAGESIZE) - 1);
  size_t length = count + (size_t)(offset - start);
  char *map = mmap(NULL, length, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, number(5), start);
  if (map == MAP_FAILED) return -1;
  if (writes) memcpy(map + (offset - start), arg[7], count);
  else memcpy(buffer, map + (offset - start), count);
  int result = writes ? msync(map, length, MS_SYNC) : 0;
  int error = errno;
  munmap(map, length);
  errno = error;
  return result < 0 ? -1 : (long)count;
}

static long call_lock(void) {
  memset(&lock, 0, sizeof lock);
  lock.l_type = lock_type(arg[7]);
  lock.l_whence = SEEK_SET;
  lock.l_start = number(8);
  lock.l_len = number(9);
  int open_file = arg[6][0] == 'o';
  if (is("testlock")) { answer = LOCK; return fcntl(number(5), open_file ? F_OFD_GETLK : F_GETLK, &lock); }
  int wait = number(10) != 0;
  return fcntl(number(5), open_file ? (wait ? F_OFD_SETLKW : F_OFD_SETLK) : (wait ? F_SETLKW : F_SETLK), &lock);
}

/* Calls on open files. */
static long call_file(void) {
  answer = NOTHING;
  int fd = number(5);
  if (is("close")) return close(fd);
  if (is("read")) { answer = BYTES; return pread(fd, buffer, number(7), number(6)); }
  if (is("write")) { answer = NUMBER; bytes(7); return pwrite(fd, arg[7], arg_bytes[7], number(6)); }
  if (is("fstat")) { answer = STAT; return fstat(fd, &found); }
  if (is("ftruncate")) return ftruncate(fd, number(6));
  if (is("fsync")) return number(6) ? fdatasync(fd) : fsync(fd);
  if (is("fchmod")) return fchmod(fd, number(6));
  if (is("fchown")) return fchown(fd, number(6), number(7));
  if (is("futimens")) { times(6, when); return futimens(fd, when); }
  if (is("fallocate")) return fallocate(fd, number(6), number(7), number(8));
  if (is("lseek")) { answer = NUMBER; return lseek(fd, number(6), number(7) ? SEEK_HOLE : SEEK_DATA); }
  if (is("copyrange")) {
    loff_t from = number(6), to = number(8);
    answer = NUMBER;
    return syscall(SYS_copy_file_range, fd, &from, (int)number(7), &to, (size_t)number(9), 0);
  }
  if (is("mapread")) { answer = BYTES; return call_map(0); }
  if (is("mapwrite")) return call_map(1);
  if (is("setlock") || is("testlock")) return call_lock();
  if (is("flock")) {
    int how = arg[6][0] == 'r' ? LOCK_SH : arg[6][0] == 'w' ? LOCK_EX : LOCK_UN;
    return flock(fd, how | (number(7) ? 0 : LOCK_NB));
  }
  if (is("getdents")) { answer = ENTRIES; return syscall(SYS_getdents64, fd, buffer, (size_t)number(6)); }
  fprintf(stderr, "no such operation: %s\n", arg[4]);
  exit(2);
}

static void put_answer(long result) {
  switch (answer) {
  case NOTHING: break;
  case NUMBER: printf(" %ld", result); break;
  case BYTES: put_bytes(buffer, (size_t)result); break;
  case STAT: put_stat(&found); break;
  case STATFS:
    printf(" %ld %llu %llu %llu %llu %llu %ld", (long)statistics.f_frsize, (unsigned long long)statistics.f_blocks,
           (unsigned long long)statistics.f_bfree, (unsigned long long)statistics.f_bavail,
           (unsigned long long)statistics.f_files, (unsigned long long)statistics.f_ffree, (long)statistics.f_namelen);
    break;
  case ENTRIES: put_entries(result); break;
  case LOCK:
    printf(" %s %lld %lld", lock.l_type == F_RDLCK ? "read" : lock.l_type == F_WRLCK ? "write" : "unlock",
           (long long)lock.l_start, (long long)lock.l_len);
  }
}

/* Effective ids only: the saved ones stay root's, so that the next call may be anybody's. */
static void become(void) {
  int uid = (int)number(1), gid = (int)number(2);
  if (uid == -1) return;
  gid_t groups[64];
  int count = 0;
  if (arg[3][0] != '-')
    for (char *text = arg[3]; *text && count < 64; text += *text == ',') groups[count++] = strtol(text, &text, 10);
  if (setgroups(count, groups) != 0 || setresgid(-1, gid, -1) != 0 || setresuid(-1, uid, -1) != 0) {
    perror("cannot act as another user");
    exit(3);
  }
  user = uid;
}
static void become_root(void) {
  if (user == -1) return;
  user = -1;
  if (setresuid(-1, 0, -1) != 0 || setresgid(-1, 0, -1) != 0 || setgroups(0, NULL) != 0) exit(3);
}

int main(int count, char **words) {
  if (count != 2 || chdir(words[1]) != 0) { perror("chdir"); return 2; }
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGPIPE, SIG_DFL);
  umask(0);
  buffer = malloc(BUFFER_MAX);
  char *line = NULL;
  size_t room = 0;
  for (;;) {
    errno = 0;
    ssize_t length = getline(&line, &room, stdin);
    if (length <= 0) {
      if (errno == EINTR) { clearerr(stdin); continue; }
      break;
    }
    line[length - 1] = 0;
    arg_count = 0;
    memset(arg, 0, sizeof arg);
    memset(arg_bytes, 0, sizeof arg_bytes);
    for (char *word = strtok(line, " "); word && arg_count < ARGUMENTS_MAX; word = strtok(NULL, " ")) arg[arg_count++] = word;
    if (arg_count < 5) return 2;
    become();
    errno = 0;
    long result = call_path();
    if (result == -2) result = call_file();
    int error = errno;
    become_root();
    printf("%s", arg[0]);
    if (result < 0) printf(" ! %d", error);
    else { fputs(" =", stdout); put_answer(result); }
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}
