/* Floors: what the jobs of qosbpf cost if they are written by hand in C, at XDP and at TC.
 *
 *   *_pass          the hook alone
 *   *_count         lean: locate, one counter by family and DS byte, frames that are not counted
 *   *_count_remark  lean, and the table
 *   *_whole_count   what qosbpf does without a table: the time of the last frame, super-packets at TC
 *   *_whole         what qosbpf does with a table: kept or changed, and the matrix of changes
 *
 * The maps of *_whole have the names and the layout of qosbpf's, so that one reader serves both; the layout comes from
 * the compiler's command line, out of the same source as qosbpf's. */
#include "locate.h"
#include "weigh.h"

/* Ethernet, four tags, an IPv6 header. */
#define HEADERS 70

const volatile __u8 TABLE[64] = {};

struct lean {
	struct counter seen[2][256], uncounted[2];
};
struct whole {
	__u64 words[WHOLE_WORDS];
};
struct half {
	struct counter cells[32][64];
};

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 1);
	__u32 *key;
	struct lean *value;
} LEAN SECTION(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 1);
	__u32 *key;
	struct whole *value;
} COUNTERS SECTION(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 2);
	__u32 *key;
	struct half *value;
} REMARKED SECTION(".maps");

INLINE void add(struct counter *sum, struct counter weight)
{
	sum->packets += weight.packets;
	sum->bytes += weight.bytes;
}

INLINE void rewrite(struct __sk_buff *skb, struct header *ip, __u8 new)
{
	if (ip->what == IPV4) {
		rewrite_ipv4(ip->at, ip->ds, new);
		return;
	}
	__u32 difference = rewrite_ipv6(ip->at, new);
	if (skb)
		csum_update(skb, difference);
}

INLINE void lean(struct __sk_buff *skb, __u8 *data, __u8 *end, __u32 bytes, int remarks)
{
	__u32 key = 0;
	struct header ip = locate(data, end, skb && skb->vlan_present);
	struct lean *counters = lookup(&LEAN, &key);
	if (!counters)
		return;
	struct counter one = {1, bytes};
	if (ip.what > IPV6) {
		add(&counters->uncounted[ip.what - NOT_IP], one);
		return;
	}
	add(&counters->seen[ip.what][ip.ds], one);
	if (!remarks)
		return;
	__u8 to = TABLE[ip.ds >> 2];
	if (to != ip.ds >> 2)
		rewrite(skb, &ip, to << 2 | (ip.ds & 3));
}

INLINE struct counter *cell(struct whole *counters, __u32 at, __u32 index)
{
	return (struct counter *)&counters->words[at + 2 * index];
}

/* CS6 and CS7 differ in one bit. */
INLINE int is_protected(struct __sk_buff *skb, __u8 dscp, int egress)
{
	return egress && (dscp & ~8) == 48 && skb->ingress_ifindex == 0;
}

INLINE void mark(struct __sk_buff *skb, struct whole *counters, struct header *ip, struct counter weight, __u8 to)
{
	__u8 dscp = ip->ds >> 2;
	rewrite(skb, ip, to << 2 | (ip->ds & 3));
	add(cell(counters, CHANGED_AT, ip->what * 256 + ip->ds), weight);
	__u32 key = dscp >> 5;
	struct half *half = lookup(&REMARKED, &key);
	if (half)
		add(&half->cells[dscp & 31][to & 63], weight);
}

INLINE void whole(struct __sk_buff *skb, __u8 *data, __u8 *end, __u32 bytes, int remarks, int egress)
{
	__u32 key = 0, tag = skb && skb->vlan_present ? 4 : 0;
	struct header ip = locate(data, end, tag != 0);
	struct counter weight = {1, bytes + tag};
	if (skb && ip.what <= IPV6)
		weight = weigh(skb, data, end, &ip, egress);
	struct whole *counters = lookup(&COUNTERS, &key);
	if (!counters)
		return;
	counters->words[LAST_AT] = jiffies64();
	if (ip.what > IPV6) {
		add(cell(counters, UNCOUNTED_AT, ip.what - NOT_IP), weight);
		return;
	}
	__u8 dscp = ip.ds >> 2, to = remarks ? TABLE[dscp] : dscp;
	int spared = to != dscp && is_protected(skb, dscp, egress);
	if (to != dscp && !spared) {
		mark(skb, counters, &ip, weight, to);
		return;
	}
	add(cell(counters, KEPT_AT, ip.what * 256 + ip.ds), weight);
	if (spared)
		add(cell(counters, PROTECTED_AT, 0), weight);
}

#define DATA(context) ((__u8 *)(long)(context)->data)
#define END(context) ((__u8 *)(long)(context)->data_end)

/* How many bytes the headers take that the EtherType promises. */
INLINE __u32 needed(struct __sk_buff *skb)
{
	__u8 *data = DATA(skb), *end = END(skb);
	if (data + 14 > end)
		return HEADERS;
	__u16 type = *(__u16 *)(data + 12);
	return type == ETHERTYPE_IPV4 ? 34 : type == ETHERTYPE_IPV6 ? 54 : HEADERS;
}

INLINE void pull(struct __sk_buff *skb)
{
	__u32 linear = END(skb) - DATA(skb);
	if (linear < HEADERS && linear < skb->len && linear < needed(skb))
		skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
}

#define XDP(name, ...)                                                                                                 \
	SECTION("xdp") int name(struct xdp_md *xdp)                                                                    \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
		return XDP_PASS;                                                                                       \
	}
#define TC(name, ...)                                                                                                  \
	SECTION("classifier") int name(struct __sk_buff *skb)                                                          \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
		return TC_ACT_UNSPEC;                                                                                  \
	}

XDP(xdp_pass, )
XDP(xdp_count, lean(0, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), 0))
XDP(xdp_count_remark, lean(0, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), 1))
XDP(xdp_whole_count, whole(0, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), 0, 0))
XDP(xdp_whole, whole(0, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), 1, 0))

TC(tc_pass, )
TC(tc_count, lean(skb, DATA(skb), END(skb), skb->len, 0))
TC(tc_count_remark, lean(skb, DATA(skb), END(skb), skb->len, 1))
TC(tc_whole_count, pull(skb); whole(skb, DATA(skb), END(skb), skb->len, 0, 0))
TC(tc_whole, pull(skb); whole(skb, DATA(skb), END(skb), skb->len, 1, 0))
TC(tc_egress_whole_count, pull(skb); whole(skb, DATA(skb), END(skb), skb->len, 0, 1))
TC(tc_egress_whole, pull(skb); whole(skb, DATA(skb), END(skb), skb->len, 1, 1))
