/* Whole: what qosbpf does. The time of the last frame, super-packets and pulling at TC, kept or changed, the matrix of
 * changes, and what this host made in CS6 and CS7 is spared.
 *
 * The maps have the names and the layout of qosbpf's, so that one reader serves both; the layout comes from the
 * compiler's command line, out of the same source as qosbpf's. */
#pragma once
#include "weigh.h"

/* Ethernet, four tags, an IPv6 header. */
#define HEADERS 70

enum { IPV4, IPV6 };
enum { NOT_IP, MALFORMED };

struct whole {
	__u64 words[WHOLE_WORDS];
};
struct half {
	struct counter cells[32 * 64];
};

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

INLINE struct whole *whole_counters(void)
{
	__u32 key = 0;
	struct whole *counters = lookup(&COUNTERS, &key);
	if (LIKELY(counters))
		counters->words[LAST_AT] = jiffies64();
	return counters;
}

INLINE struct counter *cell(struct whole *counters, __u32 at, __u32 index)
{
	return (struct counter *)&counters->words[at + 2 * index];
}

/* The matrix lies in two values; the table holds codepoints. */
INLINE void add_change(__u32 from, __u32 to, struct counter weight)
{
	__u32 cell = from * 64 + to, key = cell / (32 * 64);
	struct half *half = lookup(&REMARKED, &key);
	if (LIKELY(half))
		add(&half->cells[cell % (32 * 64)], weight);
}

/* CS6 and CS7 differ in one bit. */
INLINE int is_protected(struct __sk_buff *skb, __u32 dscp, int egress)
{
	return egress && (dscp & ~8) == 48 && skb->ingress_ifindex == 0;
}

/* What is changed; 0 where it is spared, which is counted, and kept. */
INLINE int changes(struct __sk_buff *skb, struct whole *counters, __u32 from, __u32 to, struct counter weight, int egress)
{
	if (to == from)
		return 0;
	if (!is_protected(skb, from, egress))
		return 1;
	add(cell(counters, PROTECTED_AT, 0), weight);
	return 0;
}

/* How many bytes the headers take that the EtherType promises. */
INLINE __u32 needed(__u8 *data, __u8 *end)
{
	if (data + 14 > end)
		return HEADERS;
	__u16 type = *(__u16 *)(data + 12);
	return type == ETHERTYPE_IPV4 ? 34 : type == ETHERTYPE_IPV6 ? 54 : HEADERS;
}

/* Brings the headers into reach, where a part of the packet is out of it; a super-packet is taken to have them
 * there, which is less than qosbpf does. */
INLINE void pull(struct __sk_buff *skb)
{
	__u8 *data = DATA(skb), *end = END(skb);
	__u32 linear = end - data, len = skb->len;
	if (LIKELY(linear >= len) || linear >= HEADERS || linear >= needed(data, end) || GSO_SIZE(skb))
		return;
	skb_pull_data(skb, len < HEADERS ? len : HEADERS);
}

INLINE void whole_ipv4(struct __sk_buff *skb, struct whole *counters, __u8 *at, struct counter weight, int remarks, int egress)
{
	__u32 ds = at[1], to = remarks ? TABLE[ds >> 2] : ds >> 2;
	if (!changes(skb, counters, ds >> 2, to, weight, egress)) {
		add(cell(counters, KEPT_AT, IPV4 * 256 + ds), weight);
		return;
	}
	add(cell(counters, CHANGED_AT, IPV4 * 256 + ds), weight);
	rewrite_ipv4(at, ds, (to ^ ds >> 2) << 2);
	add_change(ds >> 2, to, weight);
}

INLINE void whole_ipv6(struct __sk_buff *skb, struct whole *counters, __u8 *at, struct counter weight, int remarks, int egress)
{
	__u32 ds = ds_of_ipv6(at), to = remarks ? TABLE[ds >> 2] : ds >> 2;
	if (!changes(skb, counters, ds >> 2, to, weight, egress)) {
		add(cell(counters, KEPT_AT, IPV6 * 256 + ds), weight);
		return;
	}
	add(cell(counters, CHANGED_AT, IPV6 * 256 + ds), weight);
	rewrite_ipv6(skb, at, (to ^ ds >> 2) << 2);
	add_change(ds >> 2, to, weight);
}

INLINE void whole(struct __sk_buff *skb, struct whole *counters, __u8 *data, __u8 *end, int remarks, int egress)
{
	__u32 tag = skb ? skb->vlan_present * 4 : 0;
	struct counter one = {1, skb ? skb->len + tag : end - data};
	__u8 *at;
	BEHIND_FOUR_TAGS(at, data, end, tag);
ipv4:
	if (!is_ipv4(at, end))
		goto malformed;
	if (LIKELY(!skb || !GSO_SIZE(skb)))
		return whole_ipv4(skb, counters, at, one, remarks, egress);
	if (is_summed(skb, egress))
		return whole_ipv4(skb, counters, at, summed(skb, tag), remarks, egress);
	return whole_ipv4(skb, counters, at, segments(skb, headers_of_ipv4(data, end, at), tag), remarks, egress);
ipv6:
	if (!is_ipv6(at, end))
		goto malformed;
	if (LIKELY(!skb || !GSO_SIZE(skb)))
		return whole_ipv6(skb, counters, at, one, remarks, egress);
	if (is_summed(skb, egress))
		return whole_ipv6(skb, counters, at, summed(skb, tag), remarks, egress);
	return whole_ipv6(skb, counters, at, segments(skb, headers_of_ipv6(data, end, at), tag), remarks, egress);
malformed:
	add(cell(counters, UNCOUNTED_AT, MALFORMED), opaque(skb, one, tag, egress));
	return;
not_ip:
	add(cell(counters, UNCOUNTED_AT, NOT_IP), opaque(skb, one, tag, egress));
}
