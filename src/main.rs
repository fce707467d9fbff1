//! The door: hands over to [`millstream::commands`], and says by its exit code how it went.

/// Many small states, made and freed on several threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    millstream::commands::main(std::env::args_os(), std::env::vars_os())
}
