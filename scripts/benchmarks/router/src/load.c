// load streams|first: datagrams from as many clients as wanted, at a pace, as fast as possible, or
// as fast as they are answered.  Options are pairs of words; the result is one line of JSON.
//
//   streams  --stream CLASS/ADDRESS,PORT/FLOWS/PPS/LEN ...   FLOWS 0: every datagram is a new flow;
//                                                            PPS 0: as fast as possible
//            --ms N | until SIGINT; --echo 1: wait for answers too; --warm-ms N: a datagram of every
//            flow is sent before, and then nothing for so long; --begin-ns T: bins are since then
//   first    --to ADDRESS,PORT --window N: every datagram is a new flow, N unanswered at a time
#include "probe.h"
#include <net/if_arp.h>
#include <sys/ioctl.h>

#define BATCH 64
#define UDP_AT(f) ((f)->octets + ETH_HLEN + ((f)->family == AF_INET6 ? 40 : 20))
#define PROBE(f) ((struct probe *)(UDP_AT(f) + 8))

static const char *interface;
static uint8_t own_mac[6], gateway_mac[6], clients[16];
static uint16_t run;
static uint8_t first_octet; // of the payload: 128 is RTP's, others are of no protocol
static int sender;

// ---- frames: Ethernet, IPv4 or IPv6, UDP, probe -------------------------------------------------
struct frame { int family; unsigned len; uint8_t octets[1600]; };

static uint64_t sum_words(const uint8_t *at, unsigned len) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < len; i += 4) { uint32_t word; memcpy(&word, at + i, 4); sum += word; }
    return sum;
}

static uint16_t folded(uint64_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

static void build(struct frame *f, struct endpoint to, unsigned len, int class, uint16_t source_port) {
    memset(f, 0, sizeof *f);
    f->family = to.family;
    unsigned udp_len = 8 + len, ip_len = to.family == AF_INET6 ? 40 : 20;
    f->len = ETH_HLEN + ip_len + udp_len;
    uint8_t *ip = f->octets + ETH_HLEN, *udp = UDP_AT(f);
    memcpy(f->octets, gateway_mac, 6);
    memcpy(f->octets + 6, own_mac, 6);
    if (to.family == AF_INET6) {
        f->octets[12] = 0x86, f->octets[13] = 0xdd;
        ip[0] = 0x60, ip[4] = udp_len >> 8, ip[5] = udp_len, ip[6] = IPPROTO_UDP, ip[7] = 64;
        memcpy(ip + 24, to.address, 16);
    } else {
        f->octets[12] = 0x08;
        unsigned total = ip_len + udp_len;
        ip[0] = 0x45, ip[2] = total >> 8, ip[3] = total, ip[6] = 0x40, ip[8] = 64, ip[9] = IPPROTO_UDP;
        memcpy(ip + 16, to.address, 4);
    }
    udp[0] = source_port >> 8, udp[1] = source_port, udp[2] = to.port >> 8, udp[3] = to.port;
    udp[4] = udp_len >> 8, udp[5] = udp_len;
    *PROBE(f) = (struct probe){.rtp_flags = first_octet, .rtp_type = 111, .magic = htonl(MAGIC), .run = run, .class = class};
}

// The client of a number: one of 65,536 addresses, and another port for each 65,536 flows.
static void set_client(struct frame *f, uint32_t number, bool sets_port) {
    uint8_t *source = f->octets + ETH_HLEN + (f->family == AF_INET6 ? 8 : 12), *udp = UDP_AT(f);
    int octets = f->family == AF_INET6 ? 16 : 4;
    memcpy(source, clients, octets);
    source[octets - 2] = number >> 8, source[octets - 1] = number;
    if (!sets_port) return;
    uint16_t port = 10000 + (number >> 16) % 50000;
    udp[0] = port >> 8, udp[1] = port;
}

// Stamps a frame and makes its checksums right: of the payload, only the probe is not zero.
static void stamp(struct frame *f, uint32_t flow, uint32_t sequence, uint64_t now) {
    struct probe *p = PROBE(f);
    uint8_t *ip = f->octets + ETH_HLEN, *udp = UDP_AT(f);
    bool six = f->family == AF_INET6;
    p->flow = flow, p->sequence = sequence, p->sent_ns = now;
    // Flows begin anywhere (RFC 3550 section 5.1), and not at 0, where numbers look like the vendor's.
    p->rtp_sequence = htons(sequence + flow * 40503u), p->rtp_source = htonl(flow), p->rtp_time = htonl(sequence * 960);
    if (!six) { memset(ip + 10, 0, 2); uint16_t sum = folded(sum_words(ip, 20)); memcpy(ip + 10, &sum, 2); }
    udp[6] = udp[7] = 0;
    uint64_t sum = sum_words(six ? ip + 8 : ip + 12, six ? 32 : 8) + htons(IPPROTO_UDP);
    uint16_t len, check;
    memcpy(&len, udp + 4, 2);
    check = folded(sum + len + sum_words(udp, 8) + sum_words((void *)p, sizeof *p));
    if (!check) check = 0xffff;
    memcpy(udp + 6, &check, 2);
}

static void open_sender(void) {
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(interface)};
    struct ifreq request = {0};
    int one = 1, room = 8 << 20;
    sender = socket(AF_PACKET, SOCK_RAW, 0);
    if (sender < 0 || bind(sender, (void *)&to, sizeof to)) die("packet socket");
    setsockopt(sender, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    setsockopt(sender, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    if (ioctl(sender, SIOCGIFHWADDR, &request)) die("interface");
    memcpy(own_mac, request.ifr_hwaddr.sa_data, 6);
}

static int send_frames(struct frame **frames, int count) {
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){frames[i]->octets, frames[i]->len};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int sent = sendmmsg(sender, messages, count, MSG_DONTWAIT);
    return sent < 0 ? 0 : sent;
}

// ---- streams ------------------------------------------------------------------------------------
struct stream {
    int class, flows;
    double pps;
    struct frame *frames;
    uint32_t *sequences, next;
    uint64_t sent;
};
static struct stream streams[CLASSES];
static int stream_count;
static uint32_t bins[CLASSES][BINS], next_new;
static uint64_t answered[CLASSES];
static struct samples round_trips[CLASSES];

static void take_answer(const struct probe *p, uint64_t received_ns) {
    if (p->run != run || p->class >= CLASSES || !p->answered_ns) return;
    answered[p->class]++;
    add_sample(&round_trips[p->class], received_ns - p->sent_ns);
}

static void add_stream(const char *text) {
    struct stream *s = &streams[stream_count++];
    char to[64];
    unsigned len;
    if (stream_count > CLASSES || sscanf(text, "%d/%63[^/]/%d/%lf/%u", &s->class, to, &s->flows, &s->pps, &len) != 5
        || s->class >= CLASSES || len < sizeof(struct probe) || len > 1400) {
        fprintf(stderr, "no stream: %s\n", text);
        exit(2);
    }
    int count = s->flows ? s->flows : BATCH;
    s->frames = calloc(count, sizeof *s->frames);
    s->sequences = calloc(count, 4);
    for (int i = 0; i < count; i++) {
        build(&s->frames[i], endpoint(to), len, s->class, 5000 + s->class);
        set_client(&s->frames[i], i, false);
    }
}

// Sends up to a batch of one stream; gives how many went.
static int send_some(struct stream *s, int count, uint64_t begin_ns) {
    struct frame *batch[BATCH];
    uint64_t now = now_ns(), bin = now >= begin_ns ? (now - begin_ns) / BIN_NS : BINS;
    if (s->flows && count > s->flows) count = s->flows;
    for (int i = 0; i < count; i++) {
        if (s->flows) {
            batch[i] = &s->frames[s->next];
            stamp(batch[i], s->next, ++s->sequences[s->next], now);
            s->next = (s->next + 1) % s->flows;
        } else {
            batch[i] = &s->frames[i];
            set_client(batch[i], next_new, true);
            stamp(batch[i], next_new++, 1, now);
        }
    }
    int sent = send_frames(batch, count);
    s->sent += sent;
    if (bin < BINS) bins[s->class][bin] += sent;
    return sent;
}

static void warm(int ms) {
    for (int n = 0; n < stream_count; n++)
        for (int i = 0; i < streams[n].flows; i++) {
            struct frame *f = &streams[n].frames[i];
            PROBE(f)->class = CLASSES; // counted by nobody
            stamp(f, i, 0, now_ns());
            send_frames(&f, 1);
            PROBE(f)->class = streams[n].class;
            if (i % 20 == 19) usleep(2000);
        }
    usleep(ms * 1000);
}

static int run_streams(int ms, int warm_ms, bool has_echo, uint64_t begin_ns) {
    struct ring ring;
    int family = streams[0].frames->family;
    bool paced = true;
    for (int n = 0; n < stream_count; n++) paced &= streams[n].pps > 0;
    if (has_echo) ring_open(&ring, interface, family, CLASSES - 1);
    if (warm_ms) warm(warm_ms);
    uint64_t start = now_ns(), now;
    if (!begin_ns) begin_ns = start;
    while ((now = now_ns()) < start + ms * 1000000ull && !stopped) {
        for (int n = 0; n < stream_count; n++) {
            struct stream *s = &streams[n];
            int64_t due = s->pps > 0 ? (int64_t)((now - start) * 1e-9 * s->pps) - (int64_t)s->sent : BATCH;
            if (due > 10 * BATCH) due = 10 * BATCH; // held up: what is late is not made up for at once
            while (due > 0) {
                int asked = due < BATCH ? due : BATCH, sent = send_some(s, asked, begin_ns);
                if (!sent) break;
                due -= sent;
            }
        }
        if (has_echo) ring_take(&ring, family, take_answer);
        if (paced) { struct timespec pause = {0, 20000}; nanosleep(&pause, 0); }
    }
    double seconds = (now_ns() - start) * 1e-9;
    for (int i = 0; has_echo && i < 150; i++) { usleep(2000); ring_take(&ring, family, take_answer); }
    printf("{\"seconds\":%.4f,\"missed\":%u,\"next_flow\":%u,\"classes\":{", seconds, has_echo ? ring_missed(&ring) : 0, next_new);
    for (int n = 0; n < stream_count; n++) {
        int c = streams[n].class;
        printf("%s\"%d\":{\"sent\":%lu,\"answered\":%lu,", n ? "," : "", c, streams[n].sent, answered[c]);
        print_samples("round_trip", &round_trips[c]);
        printf("}");
    }
    printf("},");
    print_bins(bins);
    printf("}\n");
    return 0;
}

// ---- first: closed loop, every datagram the first of its flow -----------------------------------
#define MAX_FIRST (1u << 21)
static uint8_t *is_done;
static uint64_t *sent_ns, first_done;
static uint32_t first_flow, pending;

static void take_first(const struct probe *p, uint64_t received_ns) {
    uint32_t at = p->flow - first_flow;
    if (p->run != run || !p->answered_ns || at >= MAX_FIRST || is_done[at]) return;
    is_done[at] = 1;
    first_done++;
    pending--;
    add_sample(&round_trips[0], received_ns - p->sent_ns);
}

static int run_first(struct endpoint to, int ms, int window, unsigned most) {
    struct ring ring;
    struct frame frames[BATCH], *batch[BATCH];
    uint32_t sent = 0, oldest = 0;
    uint64_t lost = 0, start = now_ns(), now;
    if (most > MAX_FIRST) most = MAX_FIRST;
    ring_open(&ring, interface, to.family, CLASSES - 1);
    is_done = calloc(MAX_FIRST, 1);
    sent_ns = calloc(MAX_FIRST, sizeof *sent_ns);
    first_flow = next_new;
    for (int i = 0; i < BATCH; i++) { build(&frames[i], to, 200, 0, 0); batch[i] = &frames[i]; }
    struct pollfd ready = {ring.fd, POLLIN, 0};
    while ((now = now_ns()) < start + ms * 1000000ull && (sent < most || pending) && !stopped) {
        int count = 0;
        for (; count < BATCH && pending < (uint32_t)window && sent < most; count++, pending++) {
            set_client(&frames[count], first_flow + sent, true);
            stamp(&frames[count], first_flow + sent, 1, now);
            sent_ns[sent++] = now;
        }
        if (count) send_frames(batch, count); // what does not go is lost, and counted after a second
        struct timespec pause = {0, 100000};
        if (!ring_take(&ring, to.family, take_first) && !count) ppoll(&ready, 1, &pause, 0);
        for (; oldest < sent && (is_done[oldest] || now > sent_ns[oldest] + 1000000000ull); oldest++)
            if (!is_done[oldest]) { is_done[oldest] = 1; lost++; pending--; }
    }
    printf("{\"seconds\":%.4f,\"done\":%lu,\"lost\":%lu,\"missed\":%u,\"next_flow\":%u,",
           (now_ns() - start) * 1e-9, first_done, lost, ring_missed(&ring), first_flow + sent);
    print_samples("round_trip", &round_trips[0]);
    printf("}\n");
    return 0;
}

int main(int count, char **words) {
#define OPTION(name, otherwise) option(count, words, "--" name, otherwise)
    unsigned mac[6] = {0};
    prepare(atoi(OPTION("cpu", "-1")));
    interface = OPTION("interface", "gateway");
    run = atoi(OPTION("run", "1"));
    first_octet = atoi(OPTION("first-octet", "128"));
    next_new = strtoul(OPTION("first-flow", "0"), 0, 10);
    sscanf(OPTION("gateway-mac", ""), "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5);
    for (int i = 0; i < 6; i++) gateway_mac[i] = mac[i];
    memcpy(clients, endpoint(OPTION("clients", "10.64.0.0")).address, 16);
    open_sender();
    int ms = atoi(OPTION("ms", "100000"));
    if (count > 1 && !strcmp(words[1], "first"))
        return run_first(endpoint(OPTION("to", "")), ms, atoi(OPTION("window", "64")), strtoul(OPTION("most", "2097152"), 0, 10));
    for (int i = 2; i + 1 < count; i += 2)
        if (!strcmp(words[i], "--stream")) add_stream(words[i + 1]);
    if (count < 2 || strcmp(words[1], "streams") || !stream_count) { fprintf(stderr, "usage: load streams|first ...\n"); return 2; }
    return run_streams(ms, atoi(OPTION("warm-ms", "0")), atoi(OPTION("echo", "0")), strtoull(OPTION("begin-ns", "0"), 0, 10));
}
