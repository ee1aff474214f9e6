/* Lean: four tags, version and IHL, one counter by family and DS byte, frames that are not counted, and the table. */
#pragma once
#include "locate.h"

struct lean {
	struct counter ipv4[256], ipv6[256], not_ip, malformed;
};

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 1);
	__u32 *key;
	struct lean *value;
} LEAN SECTION(".maps");

INLINE struct lean *lean_counters(void)
{
	__u32 key = 0;
	return lookup(&LEAN, &key);
}

INLINE void lean(struct __sk_buff *skb, struct lean *counters, __u8 *data, __u8 *end, __u32 bytes, int remarks)
{
	struct counter one = {1, bytes};
	__u8 *at;
	__u32 ds, change;
	BEHIND_FOUR_TAGS(at, data, end, skb && skb->vlan_present);
ipv4:
	if (!is_ipv4(at, end))
		goto malformed;
	ds = at[1];
	add(&counters->ipv4[ds], one);
	if (remarks && (change = TABLE[ds >> 2] ^ ds >> 2))
		rewrite_ipv4(at, ds, change << 2);
	return;
ipv6:
	if (!is_ipv6(at, end))
		goto malformed;
	ds = ds_of_ipv6(at);
	add(&counters->ipv6[ds], one);
	if (remarks && (change = TABLE[ds >> 2] ^ ds >> 2))
		rewrite_ipv6(skb, at, change << 2);
	return;
malformed:
	add(&counters->malformed, one);
	return;
not_ip:
	add(&counters->not_ip, one);
}
