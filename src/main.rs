//! The `tern` program: an allocator around the library.

use std::process::ExitCode;

/// Far fewer page faults and less fragmentation than the system's allocator under many short-lived buffers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tern::run()
}
