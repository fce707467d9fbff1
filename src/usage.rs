//! What this process has used: CPU time, memory now and at its peak. Read from `/proc`.

/// CPU seconds of all threads, user and system, finished ones included.
pub fn cpu_seconds() -> f64 {
    // The command name may hold spaces: fields are counted from its closing bracket.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or(vec![], |it| it.1.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, in hundredths of a second on every Linux that we build for.
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident memory now, bytes.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// Resident memory at its peak, bytes.
pub fn peak_bytes() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|it| it.strip_prefix(key));
    let kib =
        line.and_then(|it| it.split_whitespace().next()).and_then(|it| it.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn says_something_plausible() {
        let spent: u64 = (0..20_000_000_u64).fold(0, |sum, it| sum ^ it.wrapping_mul(sum | 1));
        assert!(spent != 1 && super::cpu_seconds() >= 0.0);
        assert!(super::peak_bytes() >= super::resident_bytes() / 2);
        assert!(super::resident_bytes() > 1024 * 1024);
    }
}
