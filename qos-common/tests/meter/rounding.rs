//! At other rates the colors are those of the RFC but for packets that are within the rounding of its token counts.

use proptest::prelude::*;

use crate::oracle::{Arriving, Metered, Oracle, Parameters, algorithms, packets};

fn cases() -> impl Strategy<Value = (Parameters, u64, Vec<Arriving>)> {
    let rates = || prop_oneof![1_000_u64..=50_000_000_000, 1_000_u64..=1_000_000, 1_000_000_u64..=1_000_000_000];
    (algorithms(), rates(), rates(), 0_u64..1_000_000, 0_u64..1_000_000, 0..u64::MAX / 4).prop_flat_map(
        |(algorithm, cir, other, cbs, size, start)| {
            let of = Parameters { algorithm, committed: (cir, cbs), other: (other, size) };
            packets(cir.max(other)).prop_map(move |packets| (of, start, packets))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_color_differs_only_within_the_rounding((of, start, packets) in cases()) {
        let (mut metered, mut oracle) = (Metered::new(of, start), Oracle::new(of));
        // Never to the packet's harm: less is taken than it has bytes, by a part in 2,048 at most, and the size is that
        // of the bucket or a unit more.
        let mut taken: i128 = 0;
        for (number, packet) in packets.into_iter().enumerate() {
            oracle.wait(packet.gap);
            taken += i128::from(packet.charge.all);
            let most = 1_000_000_000 + taken * 1_000_000_000 / 2_048;
            let possible = [(0, 0), (most, 0), (0, most), (most, most)]
                .map(|more| oracle.color(packet.color, packet.charge, more));
            let color = metered.color(packet);
            prop_assert!(possible.contains(&color), "packet {}: {:?}, not in {:?}", number, color, possible);
            oracle.take(color, packet.charge);
        }
    }
}
