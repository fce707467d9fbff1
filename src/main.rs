//! The door: hands over to [`millstream::commands`], and says by its exit code how it went.

/// The general allocator costs a third more time per event here (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millstream::commands::main(std::env::args_os(), std::env::vars_os())
}
