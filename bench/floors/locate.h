/* From the Ethernet header to a usable IP header, and a new mark in it.
 *
 * Nothing is handed over but registers: each family has a label of its own, to which one branch goes straight from the
 * EtherType, and from there on it is known which family it is. */
#pragma once
#include "kernel.h"

INLINE int is_tag(__u16 type)
{
	return type == ETHERTYPE_TAG || type == ETHERTYPE_SERVICE_TAG;
}

#define TO_FAMILY(type)                                                                                                \
	if (LIKELY(type == ETHERTYPE_IPV4))                                                                            \
		goto ipv4;                                                                                             \
	if (type == ETHERTYPE_IPV6)                                                                                    \
		goto ipv6

/* Behind one tag. */
#define BEHIND_TAG(at, end, type)                                                                                      \
	if (!is_tag(type) || at + 4 > end)                                                                             \
		goto not_ip;                                                                                           \
	type = *(__u16 *)(at + 2);                                                                                     \
	at += 4;                                                                                                       \
	TO_FAMILY(type)

/* To the label of the family, with `at` at its header; to `not_ip` where there is none behind two tags. */
#define BEHIND_TWO_TAGS(at, data, end, type)                                                                           \
	if (data + 14 > end)                                                                                           \
		goto not_ip;                                                                                           \
	__u16 type = *(__u16 *)(data + 12);                                                                            \
	at = data + 14;                                                                                                \
	TO_FAMILY(type);                                                                                               \
	BEHIND_TAG(at, end, type);                                                                                     \
	BEHIND_TAG(at, end, type)

/* The same behind four, or three and the one that the device took off. */
#define BEHIND_FOUR_TAGS(at, data, end, stripped)                                                                      \
	BEHIND_TWO_TAGS(at, data, end, type);                                                                          \
	BEHIND_TAG(at, end, type);                                                                                     \
	if (stripped)                                                                                                  \
		goto not_ip;                                                                                           \
	BEHIND_TAG(at, end, type);                                                                                     \
	goto not_ip

/* Version 4 and an IHL of 5 to 15, in one comparison. */
INLINE int is_ipv4(__u8 *at, __u8 *end)
{
	return LIKELY(at + 20 <= end) && LIKELY((__u8)(at[0] - 0x45) <= 10);
}

INLINE int is_ipv6(__u8 *at, __u8 *end)
{
	return LIKELY(at + 40 <= end) && LIKELY(at[0] >> 4 == 6);
}

INLINE __u32 ds_of_ipv6(__u8 *at)
{
	return BE16(*(__u16 *)at) >> 4 & 0xff;
}

/* `change` is the old DS byte XOR the new one. RFC 1624, equation 3; the DS byte is the low one of its word. */
INLINE void rewrite_ipv4(__u8 *at, __u32 old, __u32 change)
{
	__u16 *check = (__u16 *)(at + 10);
	__u32 new = old ^ change, sum = (__u16)~*check + 0xffff + LOW_BYTE(new - old);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	*check = ~sum;
	at[1] = new;
}

/* At TC the kernel is told what its own sum of the packet changes by. */
INLINE void rewrite_ipv6(struct __sk_buff *skb, __u8 *at, __u32 change)
{
	__u16 *word = (__u16 *)at, old = *word, new = old ^ BE16(change << 4);
	*word = new;
	if (skb)
		csum_update(skb, (__u32)(__u16)~old + new);
}
