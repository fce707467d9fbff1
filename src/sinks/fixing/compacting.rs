//! Rows of relations that wait in a log, put together: of each key the newest.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::super::batch::Stream;
use super::super::book::{self, Gathered};
use super::super::lane::Lane;
use super::super::log::unreadable;
use super::super::outbox::Outbox;
use super::Desk;
use super::taking::items;
use crate::report::{Report, log_report};

/// Rows in a log are put together from here on.
const COMPACT_BYTES: u64 = 128 << 10;

impl Desk {
    /// Rows of relations lie in the log. While nobody takes them, and nothing else lies there, only
    /// the newest of each key is kept.
    pub(in super::super) fn compact(&mut self, outbox: &Outbox) {
        let lane = Arc::clone(&self.lane);
        let logged = |it: &Stream| matches!(it, Stream::Changes(_) | Stream::Events);
        let unread = lane.unread();
        if lane.declared.streams.iter().any(logged)
            || unread < COMPACT_BYTES.max(4 * self.compacted)
        {
            return;
        }
        if let Err(report) = self.try_compact(outbox, &lane)
            && !std::mem::replace(&mut self.failing, true)
        {
            log_report!(error, report, "what waits for a sink cannot be put together");
        }
    }

    fn try_compact(&mut self, outbox: &Outbox, lane: &Lane) -> Result<(), Report> {
        let end = lane.log.next();
        let durable = outbox.durable.load(SeqCst);
        let folder = &lane.log.folder;
        let streams = &lane.declared.streams;
        let mut of: Vec<Vec<u8>> = vec![Vec::new(); streams.len()];
        let (mut instant, mut single) = (0, true);
        lane.log.each(self.book.read, end, |at, tag, payload| {
            if tag != book::GATHERED || self.book.is_void(at) {
                return Ok(());
            }
            let read = Gathered::read(payload).ok_or_else(|| unreadable(folder, "a head"))?;
            single &= read.incarnation == self.book.incarnation && read.instant <= durable;
            instant = instant.max(read.instant);
            if let Some(place) = streams.iter().position(|it| read.is_of(it)) {
                of[place].extend_from_slice(read.items);
            }
            Ok(())
        })?;
        // What is not durable yet lies behind; the next look finds it durable.
        if !single {
            return Ok(());
        }
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for (stream, all) in streams.iter().zip(of) {
            let all = items(stream, all).ok_or_else(|| unreadable(folder, "its items"))?;
            let head = Gathered::head(stream, self.book.incarnation, instant, false);
            for some in all.chunks(lane.declared.limits.rows, lane.declared.limits.bytes) {
                let block = [&head[..], some.bytes()].concat();
                bytes += block.len() as u64;
                blocks.push((book::GATHERED, block));
            }
        }
        let mut book = self.book.clone();
        let mut done = false;
        lane.log.append((outbox.now_ms)(), |first| {
            // Nothing may have been gathered since.
            if first != end {
                return Vec::new();
            }
            book.read = first;
            done = true;
            // A book that cannot be written leaves the one before.
            blocks.extend(serde_json::to_vec(&book).ok().map(|it| (book::BOOK, it)));
            blocks
        })?;
        if done {
            self.book = book;
            self.compacted = bytes;
            lane.unread.fetch_sub(lane.unread().saturating_sub(bytes), SeqCst);
            lane.log.trim(self.book.needed(), (outbox.now_ms)())?;
        }
        Ok(())
    }
}
