//! The program `koalr-harness`; everything is in the library of its name.

use std::process::ExitCode;

/// A webhook's way makes many small allocations on one thread that another frees.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    koalr_harness::main()
}
