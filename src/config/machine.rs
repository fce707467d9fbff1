//! What this machine has: for defaults that depend on it.

/// Where memory is not to be learnt.
const UNKNOWN_BYTES: u64 = 4 << 30;

/// Memory of the machine, or of the group of processes that we are confined to, whichever is less.
pub(super) fn memory_bytes() -> u64 {
    // What is not there says nothing: of these files a machine has one or two.
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let number = |path: &str| text(path).trim().parse::<u64>().ok();
    let meminfo = text("/proc/meminfo");
    let total = meminfo.lines().find_map(|it| it.strip_prefix("MemTotal:")).and_then(|it| {
        let kib = it.split_whitespace().next()?.parse::<u64>().ok()?;
        kib.checked_mul(1024)
    });
    let limits = [
        total,
        number("/sys/fs/cgroup/memory.max"),
        number("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_BYTES)
}

#[cfg(test)]
mod tests {
    #[test]
    fn says_something_plausible() {
        assert!(super::memory_bytes() > 64 << 20);
    }
}
