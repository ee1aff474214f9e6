/* What a packet counts as at TC, super-packets included. */
#pragma once
#include "locate.h"

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
INLINE __u32 headers_length(__u8 *data, __u8 *end, struct header *ip)
{
	if (ip->what == IPV4) {
		if (*(__u16 *)(ip->at + 6) & BE16(0x1fff))
			return 0;
		__u8 *at = ip->at + (ip->at[0] & 15) * 4;
		return at - data + transport_length(at, end, ip->at[9]);
	}
	__u8 next = ip->at[6], *at = ip->at + 40;
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

INLINE struct counter weigh(struct __sk_buff *skb, __u8 *data, __u8 *end, struct header *ip, int egress)
{
	__u32 tag = skb->vlan_present ? 4 : 0, size = skb->gso_size;
	if (!size)
		return (struct counter){1, skb->len + tag};
	__u32 segments = skb->gso_segs;
	if (segments && egress)
		return (struct counter){segments, skb->wire_len + (__u64)segments * tag};
	__u32 headers = headers_length(data, end, ip);
	if (!segments) {
		__u32 payload = skb->len > headers ? skb->len - headers : 0;
		segments = (payload + size - 1) / size;
		if (!segments)
			segments = 1;
	}
	return (struct counter){segments, skb->len + (__u64)(segments - 1) * headers + (__u64)segments * tag};
}
