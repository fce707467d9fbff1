//! What this machine has: for defaults that depend on it.

use std::path::Path;

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
    let groups = groups(&text("/proc/self/cgroup"));
    let limits = groups.iter().filter_map(|it| number(it));
    total.into_iter().chain(limits).min().unwrap_or(UNKNOWN_BYTES)
}

/// The files that limit the memory of the groups that we are in, by the text of
/// `/proc/self/cgroup`: each group is limited by those above it, too.
fn groups(text: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be the host's: then only the root is there.
        for above in Path::new(path).ancestors() {
            let above = above.display().to_string();
            files.push(format!("{root}{}/{file}", above.trim_end_matches('/')));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    /// Goal: every group that limits us is asked, in both versions. Method: texts as systemd and
    /// containers have them.
    #[test]
    fn every_group_above_counts() {
        let unified = super::groups("0::/system.slice/millstream.service\n");
        let expected = ["/system.slice/millstream.service", "/system.slice", ""];
        assert_eq!(unified, expected.map(|it| format!("/sys/fs/cgroup{it}/memory.max")));
        let older = super::groups("5:cpu,cpuacct:/a\n4:memory:/docker/b\n1:name=systemd:/c\n");
        let expected = ["/docker/b", "/docker", ""];
        let file = "memory.limit_in_bytes";
        assert_eq!(older, expected.map(|it| format!("/sys/fs/cgroup/memory{it}/{file}")));
        assert_eq!(super::groups("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn says_something_plausible() {
        assert!(super::memory_bytes() > 64 << 20);
    }
}
