/* Publishes one FLV file over many RTMP connections from one thread: the load of tests/bench/run.
 *
 *   sender PORT APP NAME CLIP STREAMS CHUNK_BYTES MODE MEDIA_SECONDS HOLD_SECONDS
 *
 * NAME has one %d, the number of the stream. MODE says how a stream is written:
 *   burst    each message when it is due, whole, as encoders do
 *   trickle  1448 bytes at a time at the clip's mean rate, as over a link that is as slow as the stream
 *   fast     as fast as the peer takes it
 *   hostile  the same, and three commands of 8 KiB are begun and never ended: with a fourth there is no room for audio
 * The clip is put into chunks once; all messages but the first carry time differences, so that the same bytes do for every
 * stream and every turn of the loop, and sending them costs the system calls alone. HOLD keeps connections open and silent at
 * the end. Prints lines "EVENT STREAM MEDIA_MS MONOTONIC_SECONDS": publish, key (its last byte was taken), sent, end, fail. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1448, STREAMS_MAX = 256, GOP_MS = 2000 };

typedef struct { uint8_t *bytes; size_t len, room; } Text;
typedef struct { size_t end; uint32_t ms; int is_key; } Message;
/* One turn of the loop: its bytes, and where its messages end in them. */
typedef struct { Text text; Message *messages; size_t count; } Turn;
typedef struct { int fd, number, turn, is_over; size_t allowed, next, sent; double start, closes; } Stream;

static Turn turns[2]; /* the first one, with the sequence headers; all others */
static uint32_t clip_ms;
static size_t chunk_bytes;
static Stream streams[STREAMS_MAX];
static double media_ms, hold_s;
static enum { BURST, TRICKLE, FAST } mode;
static int is_hostile;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static void die(const char *what) { perror(what); exit(1); }

static void say(const char *event, const Stream *s, double ms) {
    printf("%s %d %.0f %.6f\n", event, s->number, ms, now());
    fflush(stdout);
}

static void put(Text *t, const void *bytes, size_t len) {
    if (t->len + len > t->room && !(t->bytes = realloc(t->bytes, t->room = 2 * t->room + len + 4096))) die("memory");
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static void put_number(Text *t, uint32_t n, int bytes) {
    while (bytes--) { uint8_t b = n >> 8 * bytes; put(t, &b, 1); }
}

/* A message in chunks; the first of its chunk stream has a whole header, the others have a time difference. */
static void put_message(Text *t, int chunk_stream, int is_first, uint32_t ms, int type, uint32_t message_stream, const uint8_t *body, size_t len,
                        size_t chunk) {
    put_number(t, (is_first ? 0 : 0x40) | chunk_stream, 1);
    put_number(t, ms, 3);
    put_number(t, len, 3);
    put_number(t, type, 1);
    if (is_first) put(t, (uint8_t[]){message_stream, 0, 0, 0}, 4);
    for (size_t at = 0; at < len; at += chunk) {
        if (at) put_number(t, 0xC0 | chunk_stream, 1);
        put(t, body + at, len - at < chunk ? len - at : chunk);
    }
}

/* AMF0: s a string, n a number, 0 null, o{ a key and a string }. */
static void put_command(Text *t, uint32_t message_stream, const char *shape, ...) {
    Text c = {0};
    va_list args;
    va_start(args, shape);
    for (; *shape; shape++) {
        const char *text;
        double number;
        uint64_t bits;
        switch (*shape) {
        case 's': text = va_arg(args, char *); put_number(&c, 2, 1); put_number(&c, strlen(text), 2); put(&c, text, strlen(text)); break;
        case 'n': number = va_arg(args, double); memcpy(&bits, &number, 8); put_number(&c, 0, 1); put_number(&c, bits >> 32, 4); put_number(&c, bits, 4); break;
        case '0': put_number(&c, 5, 1); break;
        case 'k': text = va_arg(args, char *); put_number(&c, strlen(text), 2); put(&c, text, strlen(text)); break;
        case '{': put_number(&c, 3, 1); break;
        case '}': put_number(&c, 9, 3); break;
        }
    }
    va_end(args);
    put_message(t, 3, 1, 0, 20, message_stream, c.bytes, c.len, chunk_bytes);
    free(c.bytes);
}

/* Puts the clip's messages behind each other, `turn` for `turn`. */
static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    Text f = {0};
    uint8_t buffer[65536];
    if (!file) die(path);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file));) put(&f, buffer, n);
    fclose(file);
    const uint8_t *end = f.bytes + f.len;
    uint32_t last_ms[16] = {0};
    for (int turn = 0; turn < 2; turn++) {
        Turn *t = &turns[turn];
        int begun[16] = {0};
        for (const uint8_t *p = f.bytes + 13; p + 11 < end;) {
            uint32_t len = p[1] << 16 | p[2] << 8 | p[3], ms = p[4] << 16 | p[5] << 8 | p[6] | (uint32_t)p[7] << 24;
            const uint8_t *body = p + 11;
            int type = p[0] & 31, stream = type == 9 ? 6 : 4;
            int is_media = (type == 8 || type == 9) && len > 2, is_header = is_media && body[1] == 0;
            p = body + len + 4;
            if (!is_media || (is_header && turn)) continue;
            int is_first = !turn && !begun[stream];
            uint32_t time = is_first ? ms : (turn && !begun[stream] ? clip_ms : 0) + ms - last_ms[stream];
            put_message(&t->text, stream, is_first, time, type, 1, body, len, chunk_bytes);
            begun[stream] = 1;
            last_ms[stream] = ms;
            t->messages = realloc(t->messages, (t->count + 1) * sizeof *t->messages);
            t->messages[t->count++] = (Message){t->text.len, ms, type == 9 && !is_header && body[0] >> 4 == 1};
            if (!turn && ms + 40 > clip_ms) clip_ms = ms + 40;
        }
    }
    free(f.bytes);
}

/* Connects and publishes; returns when the peer has said yes. */
static void publish(Stream *s, int port, const char *app, const char *name_format) {
    char name[512], url[600], answer[16384];
    Text t = {0};
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    snprintf(name, sizeof name, name_format, s->number);
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/%s", port, app);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(s->fd, (void *)&peer, sizeof peer)) die("connect");
    uint8_t hello[1537] = {3}, theirs[3073];
    if (send(s->fd, hello, sizeof hello, 0) < 0 || recv(s->fd, theirs, sizeof theirs, MSG_WAITALL) != sizeof theirs) die("handshake");
    put(&t, theirs + 1, 1536);
    uint8_t size[4] = {chunk_bytes >> 24, chunk_bytes >> 16, chunk_bytes >> 8, chunk_bytes};
    put_message(&t, 2, 1, 0, 1, 0, size, 4, 128);
    put_command(&t, 0, "sn{ksksksks}", "connect", 1.0, "app", app, "type", "nonprivate", "flashVer", "FMLE/3.0", "tcUrl", url);
    put_command(&t, 0, "sn0", "createStream", 2.0);
    put_command(&t, 1, "sn0ss", "publish", 3.0, name, "live");
    if (send(s->fd, t.bytes, t.len, 0) < 0) die("send");
    free(t.bytes);
    size_t got = 0;
    while (!memmem(answer, got, "NetStream.Publish.Start", 23)) {
        ssize_t n = recv(s->fd, answer + got, sizeof answer - got, 0);
        if (n <= 0 || memmem(answer, got, "_error", 6) || memmem(answer, got, "Publish.Bad", 11)) { say("fail", s, 0); exit(1); }
        got += n;
    }
    for (int stream = 10; is_hostile && stream < 13; stream++) {
        static const uint8_t body[8192];
        t = (Text){0};
        put_message(&t, stream, 1, 0, 20, 0, body, sizeof body, chunk_bytes);
        /* The last chunk stays away, with its header. */
        if (send(s->fd, t.bytes, t.len - (sizeof body - 1) % chunk_bytes - 2, 0) < 0) die("send");
        free(t.bytes);
    }
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    s->start = now();
    say("publish", s, 0);
}

/* How far this turn may be sent. */
static void allow(Stream *s) {
    const Turn *t = &turns[s->turn > 0];
    double before = (double)s->turn * clip_ms, due = (now() - s->start) * 1000;
    if (mode == FAST || due > media_ms) due = media_ms;
    if (mode == TRICKLE && due < media_ms) {
        double bytes = (due - before) / clip_ms * t->text.len;
        s->allowed = bytes < 0 ? 0 : bytes >= t->text.len ? t->text.len : (size_t)bytes / PIECE * PIECE;
        return;
    }
    size_t n = s->next;
    while (n < t->count && before + t->messages[n].ms <= due && before + t->messages[n].ms < media_ms) s->allowed = t->messages[n++].end;
}

static void finish(Stream *s) {
    Text t = {0};
    put_command(&t, 1, "sn0n", "deleteStream", 4.0, 1.0);
    if (send(s->fd, t.bytes, t.len, MSG_NOSIGNAL) < 0) say("fail", s, errno);
    free(t.bytes);
    shutdown(s->fd, SHUT_WR);
}

/* Sends what is due and fits the socket. */
static void pump(Stream *s) {
    while (!s->closes) {
        const Turn *t = &turns[s->turn > 0];
        allow(s);
        if (s->sent < s->allowed) {
            size_t len = s->allowed - s->sent;
            ssize_t n = send(s->fd, t->text.bytes + s->sent, mode == TRICKLE && len > PIECE ? PIECE : len, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) return;
            if (n < 0) { say("fail", s, errno); s->is_over = 1; close(s->fd); return; }
            s->sent += n;
        }
        for (; s->next < t->count && t->messages[s->next].end <= s->sent; s->next++)
            if (t->messages[s->next].is_key && mode != FAST) say("key", s, (double)s->turn * clip_ms + t->messages[s->next].ms);
        int is_last = s->next == t->count || (double)s->turn * clip_ms + t->messages[s->next].ms >= media_ms;
        if (s->sent == t->text.len) { s->turn++; s->sent = s->allowed = s->next = 0; }
        else if (is_last && s->sent == s->allowed && (mode != TRICKLE || s->sent == (s->next ? t->messages[s->next - 1].end : 0))) {
            say("sent", s, media_ms);
            s->closes = now() + hold_s;
            if (!hold_s) finish(s);
        } else if (s->sent == s->allowed) return;
    }
}

int main(int argc, char **argv) {
    static uint8_t answers[65536];
    if (argc != 10) { fprintf(stderr, "usage: sender PORT APP NAME CLIP STREAMS CHUNK_BYTES MODE MEDIA_SECONDS HOLD_SECONDS\n"); return 2; }
    int count = atoi(argv[5]), left = count, queue = epoll_create1(0);
    if (count < 1 || count > STREAMS_MAX) return 2;
    chunk_bytes = atoi(argv[6]);
    mode = argv[7][0] == 'b' ? BURST : argv[7][0] == 't' ? TRICKLE : FAST;
    is_hostile = argv[7][0] == 'h';
    media_ms = atof(argv[8]) * 1000;
    hold_s = atof(argv[9]);
    load(argv[4]);
    for (int n = 0; n < count; n++) {
        Stream *s = &streams[n];
        s->number = n;
        publish(s, atoi(argv[1]), argv[2], argv[3]);
        struct epoll_event event = {EPOLLIN | (mode == FAST ? EPOLLOUT | EPOLLET : 0), {.ptr = s}};
        epoll_ctl(queue, EPOLL_CTL_ADD, s->fd, &event);
    }
    /* Key frames spread over two seconds, as those of cameras are. */
    for (int n = 0; n < count; n++) streams[n].start = now() + GOP_MS / 1000.0 * n / count;
    while (left) {
        struct epoll_event events[64];
        int n = epoll_wait(queue, events, 64, mode == FAST ? 100 : 2);
        for (int i = 0; i < n; i++) {
            Stream *s = events[i].data.ptr;
            ssize_t got = 1;
            while (!s->is_over && (got = recv(s->fd, answers, sizeof answers, 0)) > 0) {}
            if (!s->is_over && (got == 0 || errno != EAGAIN)) { say(s->closes ? "end" : "fail", s, got ? errno : 0); s->is_over = 1; close(s->fd); left--; }
            else if (!s->is_over && mode == FAST) pump(s);
        }
        for (int i = 0; i < count; i++) {
            Stream *s = &streams[i];
            if (s->is_over) continue;
            if (mode != FAST && now() >= s->start) pump(s);
            if (s->is_over) left--;
            else if (s->closes && hold_s && now() >= s->closes) { finish(s); s->closes = now() + 3600; }
        }
    }
    return 0;
}
