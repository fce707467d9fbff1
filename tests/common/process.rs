//! The built binary as a process, for the tests that meet it from outside.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// A folder that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("millstream-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary folder harms no later test.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    // No settings file of the repository, no variables of whoever runs the tests.
    command.args(words).current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
pub fn run(words: &[&str]) -> (i32, String, String) {
    told(command(words).output().unwrap())
}

pub fn told(it: Output) -> (i32, String, String) {
    let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
    (it.status.code().unwrap_or(-1), text(it.stdout), text(it.stderr))
}

/// A running process, ended with the test.
pub struct Process {
    pub child: Child,
    pub out: BufReader<std::process::ChildStdout>,
    started: SystemTime,
}

impl Process {
    pub fn start(words: &[&str]) -> Process {
        Process::spawn(&mut command(words))
    }
    pub fn spawn(command: &mut Command) -> Process {
        let started = SystemTime::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Process { child, out, started }
    }
    /// Another program, whose output is piped.
    pub fn piped(mut child: Child) -> Process {
        let out = BufReader::new(child.stdout.take().unwrap());
        Process::of(child, out)
    }
    /// One that was started otherwise.
    pub fn of(child: Child, out: BufReader<std::process::ChildStdout>) -> Process {
        Process { child, out, started: SystemTime::now() }
    }
    /// The first line in which this stands; fails when the process ends before.
    pub fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                let mut why = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
                panic!("ended without a word of {words:?}: {why}");
            }
            if line.contains(words) {
                return line;
            }
        }
    }
    /// Where a `run` with this data folder answers, once it does.
    pub fn address(&mut self, data_dir: &Path) -> String {
        let file = data_dir.join("admin.addr");
        // One that was killed has left its own behind; the file system's clock is a coarse one.
        let since = self.started - Duration::from_millis(20);
        let fresh =
            || std::fs::metadata(&file).and_then(|it| it.modified()).is_ok_and(|it| it > since);
        // Half a minute at least; it may wait for a machine that is busy.
        for _ in 0..6_000 {
            match std::fs::read_to_string(&file) {
                Ok(address) if fresh() && address.ends_with('\n') => {
                    return address.trim().to_string();
                }
                _ if self.child.try_wait().unwrap().is_some() => {
                    let mut why = String::new();
                    self.child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
                    panic!("ended before it answered: {why}");
                }
                _ => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
        panic!("no address in {}", data_dir.display());
    }
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
    pub fn end(mut self) -> (i32, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), out, err)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, in a test that passes.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `GET` over one connection; status and body.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    answer(stream)
}

/// Status and body of the one answer of a connection that ends with it.
pub fn answer(mut from: impl Read) -> (u16, String) {
    let mut answer = String::new();
    from.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_string())
}
