/* The least that counts and remarks: two tags, one counter by DS byte for both families, a table by DS byte. Neither
 * version nor IHL is looked at, and what has no usable IP header is not counted. */
#pragma once
#include "locate.h"

const volatile __u8 DS_TABLE[256] = {};

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 256);
	__u32 *key;
	struct counter *value;
} LEAST SECTION(".maps");

INLINE void count_least(__u32 ds, __u32 bytes)
{
	struct counter *counter = lookup(&LEAST, &ds);
	if (counter)
		add(counter, (struct counter){1, bytes});
}

INLINE void least(struct __sk_buff *skb, __u8 *data, __u8 *end, __u32 bytes, int remarks)
{
	__u8 *at;
	__u32 ds, change;
	BEHIND_TWO_TAGS(at, data, end, type);
not_ip:
	return;
ipv4:
	if (at + 20 > end)
		return;
	ds = at[1];
	if (remarks && (change = DS_TABLE[ds] ^ ds))
		rewrite_ipv4(at, ds, change);
	count_least(ds, bytes);
	return;
ipv6:
	if (at + 40 > end)
		return;
	ds = ds_of_ipv6(at);
	if (remarks && (change = DS_TABLE[ds] ^ ds))
		rewrite_ipv6(skb, at, change);
	count_least(ds, bytes);
}
