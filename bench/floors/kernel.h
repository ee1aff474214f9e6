/* What the programs here need of the kernel's interface: linux/bpf.h, and no library. */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define LIKELY(what) __builtin_expect(!!(what), 1)
/* The form in which a map's description is read from its type (BTF). */
#define NUMBER(name, value) int(*name)[value]

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(value) ((__u16)__builtin_bswap16(value))
/* The second byte of a word, times a number that may be negative. */
#define LOW_BYTE(value) ((value) * 256)
#else
#define BE16(value) ((__u16)(value))
#define LOW_BYTE(value) (value)
#endif

#define ETHERTYPE_IPV4 BE16(0x0800)
#define ETHERTYPE_IPV6 BE16(0x86dd)
#define ETHERTYPE_TAG BE16(0x8100)
#define ETHERTYPE_SERVICE_TAG BE16(0x88a8)

static void *(*const lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)BPF_FUNC_skb_pull_data;
static long (*const csum_update)(struct __sk_buff *skb, __u32 csum) = (void *)BPF_FUNC_csum_update;
static __u64 (*const jiffies64)(void) = (void *)BPF_FUNC_jiffies64;

struct counter {
	__u64 packets, bytes;
};

INLINE void add(struct counter *sum, struct counter weight)
{
	sum->packets += weight.packets;
	sum->bytes += weight.bytes;
}

#define DATA(context) ((__u8 *)(long)(context)->data)
#define END(context) ((__u8 *)(long)(context)->data_end)

char LICENSE[] SECTION("license") = "Dual MIT/GPL";
