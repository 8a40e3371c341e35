// What load, tcp and server share: the probe that every datagram carries, time, figures as JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define CLASSES 8
#define BIN_NS 10000000ull // counts by the time of sending, in bins of 10 ms
#define BINS 12000         // two minutes
#define MAGIC 0x50464c44u

// The UDP payload begins as media does (RFC 3550: version 2, a dynamic payload type), so that a
// gateway which reads payloads sees what it is made for.
struct probe {
    uint8_t rtp_flags, rtp_type;
    uint16_t rtp_sequence;
    uint32_t rtp_time, rtp_source;
    uint32_t magic; // network order, as the socket filter compares it
    uint16_t run;
    uint8_t class, reserved;
    uint32_t flow, sequence;
    uint64_t sent_ns, answered_ns; // CLOCK_REALTIME of client and server: one machine
} __attribute__((packed));

static volatile sig_atomic_t stopped;
static UNUSED void on_signal(int number) { (void)number; stopped = 1; }

static UNUSED void die(const char *what) { perror(what); exit(1); }

static UNUSED uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// Signals, the core to run on, and timers that are kept to a microsecond, not to 50.
static UNUSED void prepare(int cpu) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, 0);
    sigaction(SIGTERM, &action, 0);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) die("cpu");
}

// An option's value, or what stands for it; options are pairs of words.
static UNUSED const char *option(int count, char **words, const char *name, const char *otherwise) {
    for (int i = 2; i + 1 < count; i += 2)
        if (!strcmp(words[i], name)) return words[i + 1];
    return otherwise;
}

// ---- an endpoint: ADDRESS,PORT (a comma, since IPv6 has colons) ---------------------------------
struct endpoint { int family; uint8_t address[16]; uint16_t port; };

static UNUSED struct endpoint endpoint(const char *text) {
    char host[64];
    struct endpoint e = {0};
    snprintf(host, sizeof host, "%s", text);
    char *comma = strchr(host, ',');
    if (comma) { *comma = 0; e.port = atoi(comma + 1); }
    e.family = strchr(host, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(e.family, host, e.address) != 1) { fprintf(stderr, "no address: %s\n", text); exit(2); }
    return e;
}

static UNUSED socklen_t socket_address(struct endpoint e, struct sockaddr_storage *to) {
    memset(to, 0, sizeof *to);
    to->ss_family = e.family;
    if (e.family == AF_INET6) {
        struct sockaddr_in6 *six = (void *)to;
        memcpy(&six->sin6_addr, e.address, 16);
        six->sin6_port = htons(e.port);
        return sizeof *six;
    }
    struct sockaddr_in *four = (void *)to;
    memcpy(&four->sin_addr, e.address, 4);
    four->sin_port = htons(e.port);
    return sizeof *four;
}

// ---- receiving probes at an interface, before its stack: a ring of packets (packet(7)) ----------
#define FRAME_LEN 512
#define FRAMES 32768
struct ring { int fd; uint8_t *map; unsigned at; };

static UNUSED unsigned headers_len(int family) { return ETH_HLEN + (family == AF_INET6 ? 40 : 20) + 8; }

// Only probes up to a class get in: a filter costs little, a copy much more.
static UNUSED void ring_open(struct ring *ring, const char *interface, int family, int last_class) {
    unsigned at = headers_len(family);
    struct sock_filter code[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, at + offsetof(struct probe, magic)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, MAGIC},
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, at + offsetof(struct probe, class)},
        {BPF_JMP | BPF_JGT | BPF_K, 1, 0, last_class},
        {BPF_RET | BPF_K, 0, 0, 256},
        {BPF_RET | BPF_K, 0, 0, 0},
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct tpacket_req shape = {1 << 16, FRAMES * FRAME_LEN >> 16, FRAME_LEN, FRAMES};
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int version = TPACKET_V2, one = 1;
    to.sll_ifindex = if_nametoindex(interface);
    ring->at = 0;
    ring->fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (ring->fd < 0) die("packet socket");
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version)) die("version");
    setsockopt(ring->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    if (setsockopt(ring->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) die("filter");
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &shape, sizeof shape)) die("ring");
    ring->map = mmap(0, (size_t)FRAMES * FRAME_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
    if (ring->map == MAP_FAILED || bind(ring->fd, (void *)&to, sizeof to)) die("ring");
}

typedef void (*taker)(const struct probe *probe, uint64_t received_ns);

static UNUSED int ring_take(struct ring *ring, int family, taker take) {
    for (int count = 0;; count++) {
        struct tpacket2_hdr *head = (void *)(ring->map + (size_t)ring->at * FRAME_LEN);
        if (!(__atomic_load_n(&head->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) return count;
        if (head->tp_snaplen >= headers_len(family) + sizeof(struct probe))
            take((void *)((uint8_t *)head + head->tp_mac + headers_len(family)),
                 head->tp_sec * 1000000000ull + head->tp_nsec);
        __atomic_store_n(&head->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        ring->at = (ring->at + 1) % FRAMES;
    }
}

// What the ring had no room for is lost to the measurement, not to the gateway: it must be said.
static UNUSED unsigned ring_missed(struct ring *ring) {
    struct tpacket_stats stats = {0};
    socklen_t len = sizeof stats;
    getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
    return stats.tp_drops;
}

// ---- figures: every sample is kept, so that a percentile is one ---------------------------------
struct samples { uint32_t *tens_of_ns; uint64_t count, room; };

static UNUSED void add_sample(struct samples *s, int64_t ns) {
    if (ns < 0) ns = 0;
    if (ns > 40000000000ll) ns = 40000000000ll;
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 65536;
        s->tens_of_ns = realloc(s->tens_of_ns, s->room * 4);
        if (!s->tens_of_ns) die("memory");
    }
    s->tens_of_ns[s->count++] = ns / 10;
}

static UNUSED int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static UNUSED void print_samples(const char *name, struct samples *s) {
    qsort(s->tens_of_ns, s->count, 4, by_size);
    printf("\"%s\":{\"count\":%lu", name, s->count);
    for (int p = 50; s->count && p < 100; p += 49)
        printf(",\"p%d_us\":%.2f", p, s->tens_of_ns[(s->count - 1) * p / 100] / 100.0);
    printf("}");
}

static UNUSED void print_bins(uint32_t bins[CLASSES][BINS]) {
    printf("\"bins\":{");
    for (int c = 0, first = 1; c < CLASSES; c++) {
        int last = BINS;
        while (last && !bins[c][last - 1]) last--;
        if (!last) continue;
        printf("%s\"%d\":[", first ? "" : ",", c);
        for (int i = 0; i < last; i++) printf("%s%u", i ? "," : "", bins[c][i]);
        printf("]");
        first = 0;
    }
    printf("}");
}
