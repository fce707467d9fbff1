//! What waits, taken into a flush: what was gathered, and rows read from the map at a pin.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::reading::Pin;

use super::super::OutRow;
use super::super::batch::Stream;
use super::super::book::{self, Book, EventsTold, Gathered, Source};
use super::super::coding::{Items, Packed};
use super::super::log::unreadable;
use super::super::outbox::Outbox;
use super::super::waiting::{Due, look};
use super::{Desk, FLUSH_BYTES, Flush, UNDO_STOP_BYTES};
use crate::messages::Epoch;
use crate::report::Report;

/// Rows read between two looks at the undo.
const LOOK_EVERY: usize = 1_024;

impl Desk {
    /// What was gathered, up to the durable checkpoint and the limits. Gives up to which instant
    /// all of it is in this flush or was before, and its bytes.
    pub(super) fn take_gathered(
        &mut self,
        book: &mut Book,
        flush: &mut Flush,
        durable: Epoch,
    ) -> Result<(Epoch, u64), Report> {
        let streams = self.lane.declared.streams.clone();
        let limits = self.lane.declared.limits;
        let mut taken: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0); streams.len()];
        let (mut bytes, mut instant, mut covered) = (0, 0, 0);
        let (mut unread, mut events) = (0, 0);
        let mut incarnation = None;
        let mut cut = false;
        let from = book.read;
        let folder = Arc::clone(&self.lane.log.folder);
        let next = self.follow.read(&self.lane.log, from, |at, tag, payload| {
            if tag != book::GATHERED || book.is_void(at) {
                return Ok(true);
            }
            let read = Gathered::read(payload).ok_or_else(|| unreadable(&folder, "a head"))?;
            if read.instant > durable {
                return Ok(false);
            }
            if read.instant != instant {
                (covered, instant) = (instant, read.instant);
            }
            let n = read.count().ok_or_else(|| unreadable(&folder, "its items"))?;
            if let Some(place) = streams.iter().position(|it| read.is_of(it)) {
                let (items, count) = &mut taken[place];
                let over =
                    *count + n > limits.rows || items.len() + read.items.len() > limits.bytes;
                let over =
                    over && *count > 0 || bytes + read.items.len() > FLUSH_BYTES && bytes > 0;
                if over || incarnation.is_some_and(|it| it != read.incarnation) {
                    cut = true;
                    return Ok(false);
                }
                items.extend_from_slice(read.items);
                *count += n;
                let counts = |it: &EventsTold| read.instant > it.from;
                if streams[place] == Stream::Events && book.events.as_ref().is_some_and(counts) {
                    events += n as u64;
                }
                bytes += read.items.len();
                incarnation = Some(read.incarnation);
            }
            unread += payload.len() as u64;
            Ok(true)
        })?;
        if !cut {
            covered = durable;
        }
        book.read = next;
        let needed = self.book.needed();
        book.void.retain(|it| it.1 > needed);
        let incarnation = incarnation.unwrap_or(book.incarnation);
        for (stream, (bytes, n)) in streams.iter().zip(taken) {
            if n > 0 {
                let items = items(stream, bytes).ok_or_else(|| unreadable(&folder, "its items"))?;
                flush.bytes += items.bytes().len();
                let of = (incarnation, instant.min(durable));
                flush.batches.push(self.batch(0, *stream, of, items));
                flush.sources.push(Source::Gathered(from, next));
            }
        }
        // A mark of this incarnation speaks of its own instants only.
        if incarnation != book.incarnation {
            covered = 0;
        } else if self.lane.takes(&Stream::Events) {
            let told = book.events.get_or_insert(EventsTold::after(durable));
            told.n += events;
            if !cut {
                (told.upto, told.n_upto) = (covered.max(told.from), told.n);
            }
        }
        Ok((covered, unread))
    }

    /// Rows of one view that wait, as of the pin.
    pub(super) fn take_rows(
        &mut self,
        outbox: &Outbox,
        book: &mut Book,
        flush: &mut Flush,
        stream: &Stream,
        (pin, durable): (&Pin, Epoch),
    ) -> Result<(), Report> {
        let name = stream.view();
        let Some(cursor) = book.rows.get(name).copied() else { return Ok(()) };
        if (outbox.building)(name) {
            return Ok(());
        }
        let Some(view) = outbox.views.iter().find(|it| it.leaving.def().name == name) else {
            return Ok(());
        };
        let view = view.leaving.as_ref();
        let limits = self.lane.declared.limits;
        let gone = |it: schemas::reading::Gone| lost_pin(name, pin.epoch(), it.oldest);
        let upto = {
            let mut shared = self.lane.shared.lock();
            let waiting = shared.waiting.entry(name).or_default();
            match waiting.known() > 0 || !waiting.is_lost() {
                true => None,
                false => match waiting.listen(pin.epoch()) {
                    Some(upto) => Some(upto),
                    // The next checkpoint's is as new as what it gathered.
                    None => return Ok(()),
                },
            }
        };
        if let Some(upto) = upto {
            let looked = look(view, cursor, upto, pin.epoch());
            // What was touched since the checkpoint is found at its new place only.
            if pin.epoch() > durable {
                book.leave(name, cursor.epoch, pin.epoch());
            }
            let mut shared = self.lane.shared.lock();
            let waiting = shared.waiting.entry(name).or_default();
            match looked {
                Ok((found, all)) => waiting.found(found, all),
                Err(it) => {
                    waiting.lose();
                    return Err(gone(it));
                }
            }
        }
        let mut due: Vec<Due> = Vec::new();
        // What was touched behind the pin cannot be seen there.
        let upto = durable.min(pin.epoch());
        {
            let mut shared = self.lane.shared.lock();
            let waiting = shared.waiting.entry(name).or_default();
            while due.len() < limits.rows
                && let Some(first) = waiting.first().filter(|it| it.epoch <= upto)
            {
                due.push(first);
                waiting.pass();
            }
        }
        let mut packed = Packed::default();
        let (mut cursor, mut newest, mut passed) = (cursor, 0, 0);
        for it in &due {
            let much = packed.bytes().len() >= limits.bytes;
            let undo = || passed % LOOK_EVERY == LOOK_EVERY - 1 && passed > 0;
            if much || undo() && outbox.instants.undo_bytes() > UNDO_STOP_BYTES {
                break;
            }
            match view.read(it.spot, it.key, pin.epoch()).map_err(gone)? {
                Some((epoch, name, row)) if epoch == it.epoch => {
                    packed.row(&name, epoch, row.as_ref());
                    newest = newest.max(epoch);
                }
                // Touched since, or gone: a touch that a checkpoint holds has been told.
                _ if pin.epoch() > durable => book.leave(name, it.epoch, pin.epoch()),
                _ => {}
            }
            cursor = it.cursor();
            passed += 1;
        }
        book.rows.insert(name.into(), cursor);
        {
            let mut shared = self.lane.shared.lock();
            let waiting = shared.waiting.entry(name).or_default();
            waiting.put_back(due.split_off(passed));
            if waiting.is_empty() {
                book.catching.retain(|it| it != name);
            }
        }
        if packed.is_empty() {
            return Ok(());
        }
        let bytes = packed.take();
        let folder = &self.lane.log.folder;
        let items = items(stream, bytes.clone()).ok_or_else(|| unreadable(folder, "its items"))?;
        flush.bytes += bytes.len();
        let of = (book.incarnation, newest);
        flush.batches.push(self.batch(0, *stream, of, items));
        flush.sources.push(Source::Own(flush.rows.len() as u64));
        flush.rows.push(bytes);
        Ok(())
    }
}

/// Items of a stream as a batch has them: of current rows only the newest of each key.
pub(super) fn items(stream: &Stream, bytes: Vec<u8>) -> Option<Items> {
    let all = Items::of(bytes.into())?;
    if !matches!(stream, Stream::Rows(_)) {
        return Some(all);
    }
    let mut newest: HashMap<(&str, &str), (Epoch, usize)> = HashMap::new();
    for (n, item) in all.each().enumerate() {
        let row = OutRow::read(item);
        let it = newest.entry((row.tenant, row.key)).or_default();
        *it = (*it).max((row.epoch, n));
    }
    if newest.len() == all.len() {
        drop(newest);
        return Some(all);
    }
    let mut packed = Packed::default();
    for (n, item) in all.each().enumerate() {
        let row = OutRow::read(item);
        if newest.get(&(row.tenant, row.key)).is_some_and(|it| it.1 == n) {
            packed.again(item);
        }
    }
    Items::of(packed.take().into())
}

fn lost_pin(view: &str, epoch: Epoch, oldest: Epoch) -> Report {
    Report {
        code: "sinks/lost-track",
        what: "could not read the rows of a view".into(),
        at: vec![("view", view.into()), ("epoch", epoch.to_string())],
        why: format!("expected the epoch to be held, found that {oldest} is the oldest"),
        effect: "nothing is lost: the rows wait, and are looked for again".into(),
        fix: "it goes on by itself; if it repeats, report it".into(),
    }
}
