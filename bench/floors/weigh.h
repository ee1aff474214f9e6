/* What a packet counts as at TC, super-packets included. */
#pragma once
#include "locate.h"

/* Read where it is asked for: kept from one question to the next, it would go through the stack. */
#define GSO_SIZE(skb) (*(volatile __u32 *)&(skb)->gso_size)

INLINE int is_extension(__u8 next)
{
	return next == 0 || next == 43 || next == 44 || next == 51 || next == 60 || next == 135 || next == 139 || next == 140;
}

INLINE __u32 extension_length(__u8 next, __u8 field)
{
	if (next == 44)
		return 8;
	return 8 + field * (next == 51 ? 4u : 8u);
}

INLINE __u32 transport_length(__u8 *at, __u8 *end, __u8 protocol)
{
	if (protocol == 17)
		return 8;
	if (protocol != 6)
		return 0;
	return at + 20 <= end ? (at[12] >> 4) * 4u : 20u;
}

/* Link header, IP header and what is before the payload; 0 where the transport header is out of sight. */
INLINE __u32 headers_of_ipv4(__u8 *data, __u8 *end, __u8 *ip)
{
	if (*(__u16 *)(ip + 6) & BE16(0x1fff))
		return 0;
	__u8 *at = ip + (ip[0] & 15) * 4;
	return at - data + transport_length(at, end, ip[9]);
}

INLINE __u32 headers_of_ipv6(__u8 *data, __u8 *end, __u8 *ip)
{
	__u8 next = ip[6], *at = ip + 40;
#pragma unroll
	for (int header = 0; header <= 8; header++) {
		if (!is_extension(next))
			return at - data + transport_length(at, end, next);
		if (at + 4 > end || (next == 44 && *(__u16 *)(at + 2) & BE16(0xfff8)))
			return 0;
		__u8 behind = at[0];
		at += extension_length(next, at[1]);
		next = behind;
	}
	return 0;
}

/* A super-packet's segments, and their bytes on the wire. */
INLINE struct counter segments(struct __sk_buff *skb, __u32 headers, __u32 tag)
{
	__u32 segments = skb->gso_segs, len = skb->len, size = GSO_SIZE(skb);
	if (!segments && size) {
		__u32 payload = len > headers ? len - headers : 0;
		segments = (payload + size - 1) / size;
		if (!segments)
			segments = 1;
	}
	return (struct counter){segments, len + (__u64)(segments - 1) * headers + (__u64)segments * tag};
}

/* Where the kernel has said what a super-packet takes on the wire, as it does on the way out, that is it. */
INLINE int is_summed(struct __sk_buff *skb, int egress)
{
	return egress && skb->gso_segs;
}

INLINE struct counter summed(struct __sk_buff *skb, __u32 tag)
{
	__u32 segments = skb->gso_segs;
	return (struct counter){segments, skb->wire_len + (__u64)segments * tag};
}

/* What is no IP has no headers to repeat: what the kernel has said of it, where it has said that. */
INLINE struct counter opaque(struct __sk_buff *skb, struct counter one, __u32 tag, int egress)
{
	if (LIKELY(!skb || !GSO_SIZE(skb) || !skb->gso_segs))
		return one;
	return egress ? summed(skb, tag) : segments(skb, 0, tag);
}
