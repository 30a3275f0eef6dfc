//! The component's memory: an arena that is part of it from the start, then what the host grants.
//!
//! Growing costs a call into the system each time, which for a delivery was a tenth of all work. What a delivery
//! allocates fits into the arena, so its instance never grows.

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::ptr::NonNull;

use talc::base::{Talc, binning::Binning};
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

#[global_allocator]
static HEAP: TalcSyncCell<Memory, WasmBinning> = TalcSyncCell::new_wasm(Memory { end: None, used: false });

/// Enough for verifying or applying a delivery of 64 KiB.
const ARENA: usize = 512 << 10;
const PAGE: usize = 64 << 10;
/// Pages asked for at least.
const GROWTH: usize = 8;

static mut FIRST: [u64; ARENA / 8] = [0; ARENA / 8];

/// First the arena, then the end of linear memory.
#[derive(Debug)]
struct Memory {
    used: bool,
    end: Option<NonNull<u8>>,
}

// SAFETY: nothing in here allocates. The pointers are to memory that nothing else uses: the arena, which has no
// other name outside of this file, and pages that were grown just now.
#[allow(unsafe_code, reason = "an allocator is given memory by address")]
unsafe impl Source for Memory {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !talc.source.used {
            talc.source.used = true;
            // SAFETY: claimed once, whole, and aligned.
            if unsafe { talc.claim((&raw mut FIRST).cast(), ARENA) }.is_some() {
                return Ok(());
            }
        }
        // Room for the allocation, its alignment and the allocator's own notes.
        let wanted =
            layout.size().saturating_add(layout.align()).saturating_add(PAGE).div_ceil(PAGE).max(GROWTH);
        let base = match memory_grow::<0>(wanted) {
            usize::MAX => return Err(()),
            pages => (pages * PAGE) as *mut u8,
        };
        let size = wanted * PAGE;
        // SAFETY: the pages are new; a heap is extended only where it ends at them.
        talc.source.end = match talc.source.end {
            Some(end) if end.as_ptr() == base => Some(unsafe { talc.extend(end, base.wrapping_add(size)) }),
            _ => unsafe { talc.claim(base, size) },
        };
        talc.source.end.map(|_| ()).ok_or(())
    }
}
