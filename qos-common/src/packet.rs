//! What the data path needs of a packet: reads and writes of a fixed size at a bounded offset.
//!
//! Fixed sizes are what lets one source serve both worlds. On the host the compiler checks a slice; in the kernel each
//! access becomes one comparison with the end of the packet, in the form that the verifier proves.

/// The bytes of a packet, from the first byte of the link header on.
pub trait Packet {
    /// The bytes at `offset`, or `None` where the packet ends before `offset + N`.
    ///
    /// Code for the kernel uses the bytes of a read only where `N` is 2 or more. With 1 the compiler turns
    /// `start + 1 > end` into `start >= end`, from which a verifier before Linux 5.15.7 and 5.10.84 concludes nothing, and
    /// today's nothing where `offset` is 0: the program would not load.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The bytes at `offset` to be read and written in place, or `None` where the packet ends before `offset + N`: one
    /// comparison for any number of accesses. What is said of one byte above holds here too.
    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]>;

    /// A 16-bit word has been written that no checksum inside the packet makes up for.
    ///
    /// Linux may keep the sum of a received packet beside it (`CHECKSUM_COMPLETE`). An IPv4 rewrite leaves that sum as
    /// it was, since header and header checksum cancel; an IPv6 rewrite does not, and the sum has to be told.
    #[inline(always)]
    fn sum_changed(&mut self, _old: [u8; 2], _new: [u8; 2]) {}

    /// Looks anew where the packet begins and ends. In the kernel the verifier thereby forgets which offsets have been
    /// compared with the end, and with it on which of many ways it came here.
    #[inline(always)]
    fn renew(&mut self) {}
}

impl Packet for [u8] {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.get_mut(offset..)?.first_chunk_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_read_and_written_up_to_its_end_and_no_further() {
        let mut bytes = [1, 2, 3, 4];
        assert_eq!(bytes[..].read(2), Some([3, 4]));
        assert_eq!(bytes[..].read(4), Some([]));
        assert_eq!(bytes[..].read::<2>(3), None);
        assert_eq!(bytes[..].read::<0>(5), None);
        assert_eq!(bytes[..].read::<1>(usize::MAX), None);
        bytes[..].edit::<2>(2).unwrap()[1] = 9;
        assert_eq!(bytes[..].edit::<2>(3), None);
        assert_eq!(bytes[..].edit::<1>(usize::MAX), None);
        assert_eq!(bytes, [1, 2, 3, 9]);
    }
}
