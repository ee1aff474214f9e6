//! A packet in the kernel: the window between `data` and `data_end`.

use core::hint;

use aya_ebpf::programs::{TcContext, XdpContext};
use qos_common::packet::Packet;

/// The part of a packet that a program may read and write directly.
pub struct Window {
    start: usize,
    end: usize,
}

impl Window {
    /// The window of a packet at XDP.
    #[inline(always)]
    pub fn of_xdp(context: &XdpContext) -> Self {
        Self { start: context.data(), end: context.data_end() }
    }

    /// The window of a packet at TC: taken anew after whatever moves the packet. The verifier refuses an old one.
    #[inline(always)]
    pub fn of_skb(context: &TcContext) -> Self {
        Self { start: context.data(), end: context.data_end() }
    }

    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// The one bounds check on packets: the verifier takes it as proof for the access that follows.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<*mut [u8; N]> {
        let address = self.start + offset;
        (address + N <= self.end).then_some(address as *mut [u8; N])
    }
}

impl Packet for Window {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the window is that of a context, `at` has compared with its end, the kernel keeps it valid for this run
        // of the program, and an array of bytes has no invalid value and no alignment.
        self.at(offset).map(|address| unsafe { address.read() })
    }

    #[inline(always)]
    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let address = self.at(offset)?;
        // SAFETY: as in `read`; the borrow of the window keeps this the only reference into the packet. No packet begins at
        // 0, which the compiler would compare with to make an `Option` of the reference.
        unsafe {
            hint::assert_unchecked(!address.is_null());
            Some(&mut *address)
        }
    }
}
