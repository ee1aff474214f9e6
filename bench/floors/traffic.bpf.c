/* The generator and the sink of the router measurement.
 *
 * The generator runs as a test run with live frames: the kernel hands it one recycled page a packet. What comes back
 * has been changed by the router, so that every header is written anew. The sink counts what the router let through,
 * checks it, and ends it there. */
#include "kernel.h"

#define DSCPS 64
#define HEADER_WORDS 32

/* One CPU writes: the run is pinned to it. */
struct sent {
	__u64 packets;
};
struct arrived {
	__u64 by_dscp[DSCPS], bad_checksum;
};

struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, 1);
	__u32 *key;
	struct sent *value;
} SENT SECTION(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, 1);
	__u32 *key;
	struct arrived *value;
} ARRIVED SECTION(".maps");

const volatile __u32 OUT_IFINDEX = 0;
/* 1: one codepoint after the other, 0: DF alone. */
const volatile __u32 CYCLE = 0;
const volatile __u32 IS_IPV6 = 0;
/* Ethernet, IP and UDP header of a packet with DSCP 0, as on the wire; IPv4 with its checksum. */
const volatile __u16 HEADERS[HEADER_WORDS] = {};

INLINE void mark(__u16 *word, __u32 dscp)
{
	if (IS_IPV6) {
		word[7] |= BE16(dscp << 6);
		return;
	}
	word[7] |= BE16(dscp << 2);
	__u32 sum = (__u16)~word[12] + BE16(dscp << 2);
	sum = (sum & 0xffff) + (sum >> 16);
	word[12] = ~sum;
}

SECTION("xdp") int generate(struct xdp_md *xdp)
{
	__u8 *data = (__u8 *)(long)xdp->data, *end = (__u8 *)(long)xdp->data_end;
	__u16 *word = (__u16 *)data;
	__u32 key = 0;
	struct sent *sent = lookup(&SENT, &key);
	if (!sent || data + 2 * HEADER_WORDS > end)
		return XDP_ABORTED;
	__u64 number = sent->packets++;
#pragma unroll
	for (int i = 0; i < HEADER_WORDS; i++)
		word[i] = HEADERS[i];
	mark(word, CYCLE ? number % DSCPS : 0);
	/* 256 flows by source port. */
	word[IS_IPV6 ? 27 : 17] = BE16(1024 + (number / DSCPS & 255));
	return redirect(OUT_IFINDEX, 0);
}

INLINE int is_sound(__u16 *word)
{
	__u32 sum = 0;
#pragma unroll
	for (int i = 7; i < 17; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return (__u16)sum == 0xffff;
}

SECTION("classifier") int sink(struct __sk_buff *skb)
{
	__u8 *data = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;
	__u16 *word = (__u16 *)data;
	__u32 key = 0;
	struct arrived *arrived = lookup(&ARRIVED, &key);
	if (!arrived || data + 54 > end)
		return TC_ACT_UNSPEC;
	if (word[6] == ETHERTYPE_IPV4 && data[23] == 17) {
		arrived->by_dscp[data[15] >> 2]++;
		arrived->bad_checksum += !is_sound(word);
		return TC_ACT_SHOT;
	}
	if (word[6] == ETHERTYPE_IPV6 && data[20] == 17) {
		arrived->by_dscp[BE16(word[7]) >> 6 & 63]++;
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}
