//! Standard output that may be a closed pipe: `millstream log show | head` ends without a word.

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};

use crate::report::Report;

/// Standard output, buffered; what is still in it is written by [`Out::end`].
pub struct Out {
    to: BufWriter<StdoutLock<'static>>,
    closed: bool,
}

/// Whether anyone still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Go on.
    There,
    /// The pipe is closed: stop.
    Gone,
}

impl Default for Out {
    fn default() -> Out {
        Out { to: BufWriter::new(std::io::stdout().lock()), closed: false }
    }
}

impl Out {
    /// Writes a line.
    pub fn line(&mut self, text: impl AsRef<[u8]>) -> Result<Reader, Report> {
        let wrote = self.to.write_all(text.as_ref()).and_then(|()| self.to.write_all(b"\n"));
        self.took(wrote)
    }

    /// Writes text as it is.
    pub fn text(&mut self, text: &str) -> Result<Reader, Report> {
        let wrote = self.to.write_all(text.as_bytes());
        self.took(wrote)
    }

    /// Hands over what is still buffered.
    pub fn flush(&mut self) -> Result<Reader, Report> {
        let wrote = self.to.flush();
        self.took(wrote)
    }

    /// Writes what is left.
    pub fn end(mut self) -> Result<(), Report> {
        self.flush().map(|_| ())
    }

    fn took(&mut self, wrote: std::io::Result<()>) -> Result<Reader, Report> {
        match wrote {
            Ok(()) if !self.closed => Ok(Reader::There),
            Ok(()) => Ok(Reader::Gone),
            Err(why) if why.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(Reader::Gone)
            }
            Err(why) => Err(cannot_write(&why)),
        }
    }
}

fn cannot_write(why: &std::io::Error) -> Report {
    Report {
        code: "commands/output",
        what: "could not write what came out".into(),
        at: vec![("to", "standard output".into())],
        why: why.to_string(),
        effect: "nothing durable depends on it".into(),
        fix: "make room or choose another place, then do it again".into(),
    }
}
