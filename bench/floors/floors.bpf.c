/* Floors: what the jobs of qosbpf cost if they are written by hand in C, at XDP and at TC.
 *
 *   *_pass                             the hook alone
 *   *_least_count, *_least             a smaller contract, which has the least of everything
 *   *_lean_count, *_lean               four tags, version and IHL, both families counted apart
 *   *_whole_count, *_whole             what qosbpf does without a table, and with one
 *   tc_egress_whole_count, .._whole    the same on the way out
 *
 * Counters are looked up first, so that nothing of a packet has to be kept over that call. */
#include "kernel.h"

const volatile __u8 TABLE[64] = {};

#include "lean.h"
#include "least.h"
#include "whole.h"

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

#define XDP_LEAST(remarks) least(0, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), remarks)
#define TC_LEAST(remarks) least(skb, DATA(skb), END(skb), skb->len, remarks)

#define XDP_LEAN(remarks)                                                                                              \
	struct lean *counters = lean_counters();                                                                       \
	if (LIKELY(counters))                                                                                          \
	lean(0, counters, DATA(xdp), END(xdp), END(xdp) - DATA(xdp), remarks)
#define TC_LEAN(remarks)                                                                                               \
	struct lean *counters = lean_counters();                                                                       \
	if (LIKELY(counters))                                                                                          \
	lean(skb, counters, DATA(skb), END(skb), skb->len, remarks)

#define XDP_WHOLE(remarks)                                                                                             \
	struct whole *counters = whole_counters();                                                                     \
	if (LIKELY(counters))                                                                                          \
	whole(0, counters, DATA(xdp), END(xdp), remarks, 0)
#define TC_WHOLE(remarks, egress)                                                                                      \
	struct whole *counters = whole_counters();                                                                     \
	pull(skb);                                                                                                     \
	if (LIKELY(counters))                                                                                          \
	whole(skb, counters, DATA(skb), END(skb), remarks, egress)

XDP(xdp_pass, )
XDP(xdp_least_count, XDP_LEAST(0))
XDP(xdp_least, XDP_LEAST(1))
XDP(xdp_lean_count, XDP_LEAN(0))
XDP(xdp_lean, XDP_LEAN(1))
XDP(xdp_whole_count, XDP_WHOLE(0))
XDP(xdp_whole, XDP_WHOLE(1))

TC(tc_pass, )
TC(tc_least_count, TC_LEAST(0))
TC(tc_least, TC_LEAST(1))
TC(tc_lean_count, TC_LEAN(0))
TC(tc_lean, TC_LEAN(1))
TC(tc_whole_count, TC_WHOLE(0, 0))
TC(tc_whole, TC_WHOLE(1, 0))
TC(tc_egress_whole_count, TC_WHOLE(0, 1))
TC(tc_egress_whole, TC_WHOLE(1, 1))
