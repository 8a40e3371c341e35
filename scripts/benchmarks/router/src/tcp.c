// tcp connections|bulk: the client's streams.  Options are pairs of words; the result is JSON.
//   connections  --to ADDRESS,PORT --hello FILE --window N --ms N
//                connect, say hello, wait for one octet, close when the server does; N at a time
//   bulk         --to ADDRESS,PORT --hello FILE --ms N
//                one stream, hello first; the receiver says how much has come
#include "probe.h"
#include <netinet/tcp.h>
#include <sys/epoll.h>

static char hello[16384];
static int hello_len;

static int opened(int family, int flags) {
    int fd = socket(family, SOCK_STREAM | flags, 0), one = 1;
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// ---- connections --------------------------------------------------------------------------------
enum state { CONNECTING, ASKING, ANSWERED };
struct stream { int fd; enum state state; uint64_t begin_ns; };
static uint64_t done, failed;
static struct samples times;

static bool goes_on(struct stream *s, int poller, uint32_t at) { // false: it is over
    char octet[16];
    int error = 0;
    socklen_t len = sizeof error;
    if (s->state == CONNECTING) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = at};
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error || send(s->fd, hello, hello_len, MSG_NOSIGNAL) != hello_len) { failed++; return false; }
        s->state = ASKING;
        return !epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &event);
    }
    ssize_t got = recv(s->fd, octet, sizeof octet, 0);
    if (got < 0 && errno == EAGAIN) return true;
    if (s->state == ANSWERED) return false;
    if (got <= 0) { failed++; return false; }
    done++;
    add_sample(&times, now_ns() - s->begin_ns);
    s->state = ANSWERED; // the server closes first: its side keeps the TIME-WAIT
    return true;
}

static int connections(struct endpoint to, int window, int ms) {
    struct stream *streams = calloc(window, sizeof *streams);
    struct sockaddr_storage address;
    socklen_t len = socket_address(to, &address);
    int poller = epoll_create1(0);
    uint64_t start = now_ns(), now;
    for (int i = 0; i < window; i++) streams[i].fd = -1;
    while ((now = now_ns()) < start + ms * 1000000ull && !stopped) {
        for (int i = 0; i < window; i++) {
            struct stream *s = &streams[i];
            if (s->fd >= 0 && now > s->begin_ns + 1000000000ull) { failed += s->state != ANSWERED; close(s->fd); s->fd = -1; }
            if (s->fd >= 0) continue;
            *s = (struct stream){opened(to.family, SOCK_NONBLOCK), CONNECTING, now_ns()};
            struct epoll_event event = {.events = EPOLLOUT, .data.u32 = i};
            if (connect(s->fd, (void *)&address, len) && errno != EINPROGRESS) { failed++; close(s->fd); s->fd = -1; }
            else epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &event);
        }
        struct epoll_event events[64];
        int count = epoll_wait(poller, events, 64, 5);
        for (int i = 0; i < count; i++) {
            struct stream *s = &streams[events[i].data.u32];
            if (s->fd >= 0 && !goes_on(s, poller, events[i].data.u32)) { close(s->fd); s->fd = -1; }
        }
    }
    printf("{\"seconds\":%.4f,\"done\":%lu,\"failed\":%lu,", (now_ns() - start) * 1e-9, done, failed);
    print_samples("time", &times);
    printf("}\n");
    return 0;
}

// ---- bulk ---------------------------------------------------------------------------------------
static int bulk(struct endpoint to, int ms) {
    static char zeros[1 << 17];
    struct sockaddr_storage address;
    socklen_t len = socket_address(to, &address);
    struct timeval patience = {3, 0};
    int fd = opened(to.family, 0);
    uint64_t sent = 0, came = 0, start;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (void *)&address, len) || send(fd, hello, hello_len, MSG_NOSIGNAL) != hello_len) die("connect");
    sent = hello_len;
    for (start = now_ns(); now_ns() < start + ms * 1000000ull && !stopped;) {
        ssize_t went = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL);
        if (went <= 0) die("send");
        sent += went;
    }
    shutdown(fd, SHUT_WR);
    if (recv(fd, &came, sizeof came, MSG_WAITALL) != sizeof came) die("receiver");
    double seconds = (now_ns() - start) * 1e-9;
    printf("{\"seconds\":%.4f,\"gbit_s\":%.4f,\"whole\":%s}\n", seconds, came * 8e-9 / seconds, came == sent ? "true" : "false");
    return 0;
}

int main(int count, char **words) {
#define OPTION(name, otherwise) option(count, words, "--" name, otherwise)
    const char *what = count > 1 ? words[1] : "";
    FILE *file = fopen(OPTION("hello", "/dev/null"), "rb");
    if (!file) die("hello");
    hello_len = fread(hello, 1, sizeof hello, file);
    fclose(file);
    prepare(atoi(OPTION("cpu", "-1")));
    struct endpoint to = endpoint(OPTION("to", "127.0.0.1,1"));
    int ms = atoi(OPTION("ms", "1000"));
    if (!strcmp(what, "connections")) return connections(to, atoi(OPTION("window", "32")), ms);
    if (!strcmp(what, "bulk")) return bulk(to, ms);
    fprintf(stderr, "usage: tcp connections|bulk ...\n");
    return 2;
}
