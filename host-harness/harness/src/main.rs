//! The program around the library of the same name. Only a program chooses what allocates.

use std::process::ExitCode;

/// A webhook's way makes many small allocations on one thread that another frees.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    koalr_harness::main()
}
