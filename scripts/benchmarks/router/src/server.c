// server sink|echo|tcp: the far end.  Options are pairs of words; says "ready", ends by SIGINT.
//   sink  --interface NAME --family 4|6 --run N --begin-ns T --last-class N
//         counts probes at the interface, whatever becomes of them behind it; prints JSON at the end
//   echo  --family 4|6 --port N        answers each datagram from the address it was sent to
//   tcp   --family 4|6 --ports A,B,C   A: answers the first octets by one octet, and closes
//                                      B: takes all, and tells at the end how much it was
//                                      C: gives back all it gets
#include "probe.h"
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>

// ---- sink ---------------------------------------------------------------------------------------
static uint16_t run;
static uint64_t begin_ns, counts[CLASSES];
static uint32_t bins[CLASSES][BINS];
static struct samples one_way[CLASSES];

static void take(const struct probe *p, uint64_t received_ns) {
    if (p->run != run || p->class >= CLASSES) return;
    uint64_t bin = p->sent_ns >= begin_ns ? (p->sent_ns - begin_ns) / BIN_NS : BINS;
    counts[p->class]++;
    if (bin < BINS) bins[p->class][bin]++;
    add_sample(&one_way[p->class], received_ns - p->sent_ns);
}

static void sink(const char *interface, int family, int last_class) {
    struct ring ring;
    ring_open(&ring, interface, family, last_class);
    struct pollfd ready = {ring.fd, POLLIN, 0};
    printf("ready\n");
    fflush(stdout);
    while (!stopped) { poll(&ready, 1, 100); ring_take(&ring, family, take); }
    usleep(20000);
    ring_take(&ring, family, take);
    printf("{\"missed\":%u,\"classes\":{", ring_missed(&ring));
    for (int c = 0, first = 1; c < CLASSES; c++) {
        if (!counts[c]) continue;
        printf("%s\"%d\":{\"received\":%lu,", first ? "" : ",", c, counts[c]);
        print_samples("one_way", &one_way[c]);
        printf("}");
        first = 0;
    }
    printf("},");
    print_bins(bins);
    printf("}\n");
}

// ---- echo ---------------------------------------------------------------------------------------
#define BATCH 32
#define CONTROL_LEN 64

static int bound(int family, int kind, int port) {
    int fd = socket(family, kind, 0), one = 1, room = 64 << 20;
    struct endpoint any = {.family = family, .port = port};
    struct sockaddr_storage at;
    socklen_t len = socket_address(any, &at);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (kind == SOCK_DGRAM) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
        if (family == AF_INET) setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
        else setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
        // The server owns every address by a route; as a source, IPv6 wants to see it assigned.
        if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof one);
    }
    if (fd < 0 || bind(fd, (void *)&at, len) || (kind == SOCK_STREAM && listen(fd, 4096))) die("bind");
    return fd;
}

// An answer leaves from the address that was asked, by whatever interface leads back.
static void turn_round(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP) {
            struct in_pktinfo *info = (void *)CMSG_DATA(c);
            info->ipi_ifindex = 0, info->ipi_spec_dst = info->ipi_addr;
        } else
            ((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex = 0;
    }
}

static void echo(int fd) {
    static uint8_t octets[BATCH][2048], control[BATCH][CONTROL_LEN];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_storage from[BATCH];
    struct pollfd ready = {fd, POLLIN, 0};
    while (!stopped) {
        if (poll(&ready, 1, 200) <= 0) continue;
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){octets[i], sizeof octets[i]};
            messages[i].msg_hdr = (struct msghdr){&from[i], sizeof from[i], &parts[i], 1, control[i], CONTROL_LEN, 0};
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, 0);
        for (int i = 0; i < count; i++) {
            ((struct probe *)octets[i])->answered_ns = now_ns();
            parts[i].iov_len = messages[i].msg_len;
            turn_round(&messages[i].msg_hdr);
        }
        if (count > 0) sendmmsg(fd, messages, count, MSG_DONTWAIT);
    }
}

// ---- tcp ----------------------------------------------------------------------------------------
static void *take_all(void *given) {
    int fd = (intptr_t)given;
    uint64_t total = 0;
    ssize_t got;
    char *room = malloc(1 << 17);
    while ((got = read(fd, room, 1 << 17)) > 0) total += got;
    if (write(fd, &total, sizeof total) < 0) perror("answer");
    free(room);
    close(fd);
    return 0;
}

static void *give_back(void *given) {
    int fd = (intptr_t)given;
    char room[4096];
    ssize_t got;
    while ((got = read(fd, room, sizeof room)) > 0 && write(fd, room, got) == got) {}
    close(fd);
    return 0;
}

static void watch(int poller, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void accept_one(int poller, int fd, void *(*thread)(void *)) {
    int one = 1, stream = accept(fd, 0, 0);
    if (stream < 0) return;
    setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!thread) { watch(poller, stream); return; }
    pthread_t id;
    if (pthread_create(&id, 0, thread, (void *)(intptr_t)stream)) close(stream);
    else pthread_detach(id);
}

static void tcp(int family, const int *ports) {
    int doors[3], poller = epoll_create1(0);
    void *(*threads[3])(void *) = {0, take_all, give_back};
    for (int i = 0; i < 3; i++) watch(poller, doors[i] = bound(family, SOCK_STREAM, ports[i]));
    printf("ready\n");
    fflush(stdout);
    while (!stopped) {
        struct epoll_event events[64];
        int count = epoll_wait(poller, events, 64, 200);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, door = 0;
            char room[4096];
            while (door < 3 && doors[door] != fd) door++;
            if (door < 3) accept_one(poller, fd, threads[door]);
            else { if (read(fd, room, sizeof room) > 0 && write(fd, "x", 1) < 0) perror("answer"); close(fd); }
        }
    }
}

int main(int count, char **words) {
#define OPTION(name, otherwise) option(count, words, "--" name, otherwise)
    const char *what = count > 1 ? words[1] : "";
    int family = !strcmp(OPTION("family", "4"), "6") ? AF_INET6 : AF_INET, port = atoi(OPTION("port", "5300"));
    int ports[3] = {0};
    prepare(atoi(OPTION("cpu", "-1")));
    sscanf(OPTION("ports", "5400,5401,5402"), "%d,%d,%d", ports, ports + 1, ports + 2);
    run = atoi(OPTION("run", "1"));
    begin_ns = strtoull(OPTION("begin-ns", "0"), 0, 10);
    if (!strcmp(what, "sink")) sink(OPTION("interface", "gateway"), family, atoi(OPTION("last-class", "7")));
    else if (!strcmp(what, "tcp")) tcp(family, ports);
    else if (!strcmp(what, "echo")) { int fd = bound(family, SOCK_DGRAM, port); printf("ready\n"); fflush(stdout); echo(fd); }
    else { fprintf(stderr, "usage: server sink|echo|tcp ...\n"); return 2; }
    return 0;
}
