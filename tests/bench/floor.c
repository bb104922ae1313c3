/* What the machine itself takes for the bytes that a server has to move: CPU seconds per GB, a line "NAME SECONDS" each.
 *
 *   floor FOLDER        a ring file is made there and removed
 *
 * Over loopback only the side that is named is counted; the other one is a child process. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, RING = 16 * MIB, WRITE = 64 << 10 };
static const double TOTAL = 1e9;
static char bytes[MIB], others[MIB];

static double cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) { perror(what); exit(1); }

/* Two ends of a TCP connection: [0] is ours, [1] the child's. */
static void connect_pair(int ends[2]) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&at, len) || listen(listener, 1) || getsockname(listener, (void *)&at, &len)) die("listen");
    if (connect(ends[1], (void *)&at, len) || (ends[0] = accept(listener, 0, 0)) < 0) die("connect");
    close(listener);
}

/* The child reads all, or writes all and closes. */
static pid_t child(int ends[2], int is_reader) {
    pid_t pid = fork();
    if (pid) { close(ends[1]); return pid; }
    close(ends[0]);
    if (is_reader) while (recv(ends[1], bytes, sizeof bytes, 0) > 0) {}
    else for (double done = 0; done < TOTAL; done += sizeof bytes) if (send(ends[1], bytes, sizeof bytes, 0) != sizeof bytes) _exit(1);
    _exit(0);
}

static void receive(const char *name, size_t at_once) {
    int ends[2];
    connect_pair(ends);
    pid_t pid = child(ends, 0);
    double before = cpu(), done = 0;
    for (ssize_t n; (n = recv(ends[0], bytes, at_once, 0)) > 0;) done += n;
    printf("%s %.4f\n", name, (cpu() - before) / done * 1e9);
    close(ends[0]);
    waitpid(pid, 0, 0);
}

int main(int argc, char **argv) {
    int ends[2], file;
    char path[4096];
    if (argc != 2) return 2;
    setvbuf(stdout, 0, _IONBF, 0);
    memset(bytes, 7, sizeof bytes);
    snprintf(path, sizeof path, "%s/floor.tmp", argv[1]);
    if ((file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0 || unlink(path)) die(path);
    for (off_t at = 0; at < RING; at += WRITE) if (pwrite(file, bytes, WRITE, at) != WRITE) die("pwrite");

    receive("recv_64k", 64 << 10);
    receive("recv_4k", 4 << 10);
    double before = cpu(), done = 0;
    for (; done < TOTAL; done += sizeof bytes) { memcpy(others, bytes, sizeof bytes); __asm__ volatile("" ::: "memory"); }
    printf("memcpy %.4f\n", (cpu() - before) / done * 1e9);
    before = cpu(), done = 0;
    for (; done < TOTAL; done += WRITE) if (pwrite(file, bytes, WRITE, (long)done % RING / WRITE * WRITE) != WRITE) die("pwrite");
    printf("pwrite_ring %.4f\n", (cpu() - before) / done * 1e9);
    connect_pair(ends);
    pid_t pid = child(ends, 1);
    before = cpu(), done = 0;
    while (done < TOTAL) {
        off_t at = (long)done % RING;
        ssize_t n = sendfile(ends[0], file, &at, 256 << 10);
        if (n <= 0) die("sendfile");
        done += n;
    }
    printf("sendfile %.4f\n", (cpu() - before) / done * 1e9);
    close(ends[0]);
    waitpid(pid, 0, 0);
    return 0;
}
