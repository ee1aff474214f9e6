/* From the Ethernet header to a usable IP header: the contract of qosbpf, as C writes it. */
#pragma once
#include "kernel.h"

enum { IPV4, IPV6, NOT_IP, MALFORMED };

struct header {
	__u8 *at;
	int what;
	__u8 ds;
};

INLINE struct header ipv4(__u8 *at, __u8 *end)
{
	/* Version 4 and an IHL of 5 to 15, in one comparison. */
	if (at + 20 > end || (__u8)(at[0] - 0x45) > 10)
		return (struct header){at, MALFORMED, 0};
	return (struct header){at, IPV4, at[1]};
}

INLINE struct header ipv6(__u8 *at, __u8 *end)
{
	if (at + 40 > end || at[0] >> 4 != 6)
		return (struct header){at, MALFORMED, 0};
	return (struct header){at, IPV6, BE16(*(__u16 *)at) >> 4};
}

INLINE int is_tag(__u16 type)
{
	return type == ETHERTYPE_TAG || type == ETHERTYPE_SERVICE_TAG;
}

/* Four tags, of which the kernel may have moved `stripped` into metadata. */
INLINE struct header behind_tags(__u8 *at, __u8 *end, int stripped)
{
#pragma unroll
	for (int tag = 0; tag < 4; tag++) {
		if (at + 4 > end || tag + stripped >= 4)
			break;
		__u16 type = *(__u16 *)(at + 2);
		at += 4;
		if (type == ETHERTYPE_IPV4)
			return ipv4(at, end);
		if (type == ETHERTYPE_IPV6)
			return ipv6(at, end);
		if (!is_tag(type))
			break;
	}
	return (struct header){at, NOT_IP, 0};
}

INLINE struct header locate(__u8 *data, __u8 *end, int stripped)
{
	if (data + 14 > end)
		return (struct header){data, NOT_IP, 0};
	__u16 type = *(__u16 *)(data + 12);
	if (type == ETHERTYPE_IPV4)
		return ipv4(data + 14, end);
	if (type == ETHERTYPE_IPV6)
		return ipv6(data + 14, end);
	if (is_tag(type))
		return behind_tags(data + 14, end, stripped);
	return (struct header){data, NOT_IP, 0};
}

/* RFC 1624, equation 3. */
INLINE void rewrite_ipv4(__u8 *at, __u8 old, __u8 new)
{
	__u16 *check = (__u16 *)(at + 10);
	__u32 sum = (__u16)~*check + (__u16)~BE16(old) + BE16(new);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	*check = ~sum;
	at[1] = new;
}

/* What the kernel's own sum of the packet changes by. */
INLINE __u32 rewrite_ipv6(__u8 *at, __u8 new)
{
	__u16 *word = (__u16 *)at, old = *word, marked = (old & BE16(0xf00f)) | BE16(new << 4);
	*word = marked;
	return (__u32)(__u16)~old + marked;
}
