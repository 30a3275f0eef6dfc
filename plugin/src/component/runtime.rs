//! What `std` would have brought: the end of a panic, and the canonical ABI's allocation function. The allocator is
//! `koalr-codec`'s, since it should be fast.
//!
//! A panic is told to the log before the trap, or nobody would learn what happened.

use alloc::alloc::{Layout, alloc, realloc};
use alloc::format;
use alloc::string::ToString;
use core::arch::wasm32::unreachable;
use core::sync::atomic::{AtomicBool, Ordering};

use super::imports::log::{Level, log};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn stop(info: &core::panic::PanicInfo<'_>) -> ! {
    // Telling of it allocates; should that be what fails, the second panic goes straight to the trap.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let fields = [("panic".to_string(), info.message().to_string()), ("at".to_string(), place)];
        log(Level::Error, "the plugin panicked and stops", &fields);
    }
    unreachable()
}

// memcmp, memcpy and friends come from the target's libc.
#[allow(unsafe_code, reason = "linking to libc is a promise that the compiler cannot check")]
#[link(name = "c")]
unsafe extern "C" {}

/// The canonical ABI allocates what it passes in through this. It must be the global allocator, because Rust
/// frees what it is given.
#[allow(unsafe_code, reason = "the canonical ABI is a C interface")]
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    // SAFETY: the canonical ABI passes valid layouts, and `old` was returned by this function.
    let ptr = unsafe {
        match (old_len, len) {
            (0, 0) => return core::ptr::without_provenance_mut(align),
            (0, _) => alloc(Layout::from_size_align_unchecked(len, align)),
            _ => realloc(old, Layout::from_size_align_unchecked(old_len, align), len),
        }
    };
    if ptr.is_null() {
        unreachable()
    }
    ptr
}
