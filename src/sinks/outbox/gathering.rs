//! What each stream gets of an instant: rows that were touched, events, and all there is where one begins.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::super::batch::Stream;
use super::super::packing::Packing;
use super::super::waiting::Due;
use super::{Gathering, Outbox, View};
use crate::messages::Epoch;
use crate::report::{Report, log_report};

impl Outbox {
    /// What a view's streams get.
    pub(super) fn gather_view(
        &self,
        view: &View,
        at: Epoch,
        gathering: &mut Gathering,
        begin: &[(usize, Stream)],
    ) -> Result<bool, Report> {
        let def = view.leaving.def();
        let is_kept = view.leaving.is_kept();
        // What begins gets all there is, and beside it what has gone since the gathering before: its
        // receiver may have that from before. Of a map that is looked through all is told as ever.
        let takers = |stream: &Stream| -> (Vec<usize>, Vec<usize>) {
            let lanes = self.lanes.iter().enumerate().filter(|it| it.1.takes(stream));
            let begins = |n: &usize| begin.iter().any(|it| it.0 == *n && it.1 == *stream);
            let from_map = is_kept && matches!(stream, Stream::Rows(_));
            lanes.map(|it| it.0).partition(|n| from_map || !begins(n))
        };
        let (changes, rows) = (Stream::Changes(def), Stream::Rows(def));
        let (to_changes, gone_changes) = takers(&changes);
        let (to_rows, gone_rows) = takers(&rows);
        // Of a view that the store keeps the map itself says what waits.
        let logged = if is_kept { Vec::new() } else { to_rows.clone() };
        let listening = |n: &usize| {
            let shared = self.lanes[*n].shared.lock();
            shared.waiting.get(def.name).is_some_and(|it| !it.is_lost())
        };
        let mark = is_kept && to_rows.iter().any(listening);
        let with_rows = !to_changes.is_empty() || !logged.is_empty();
        let mut due: Vec<Due> = Vec::new();
        let mut found = false;
        let mut packed = [
            Packing::of(&changes, at, to_changes),
            Packing::of(&rows, at, logged),
            Packing::of(&changes, at, gone_changes),
            Packing::of(&rows, at, gone_rows),
        ];
        let after = gathering.upto;
        let told = view.leaving.touched(after, at, with_rows, &mut |it| {
            found = true;
            let row = it.row.as_ref();
            packed[0].put(self, gathering, |into| into.row(it.name, at, row));
            packed[1].put(self, gathering, |into| into.row(it.name, it.epoch, row));
            if !it.exists {
                packed[2].put(self, gathering, |into| into.row(it.name, at, None));
                packed[3].put(self, gathering, |into| into.row(it.name, it.epoch, None));
            }
            if mark {
                due.push(Due { epoch: it.epoch, key: it.key, spot: it.spot });
            }
        });
        packed.into_iter().for_each(|it| it.end(self, gathering));
        due.sort_unstable();
        let run: Arc<[Due]> = due.into();
        for n in &to_rows {
            let mut shared = self.lanes[*n].shared.lock();
            match shared.waiting.get_mut(def.name) {
                Some(it) if mark || !found => it.push(Arc::clone(&run), at),
                // Somebody may have begun to listen meanwhile.
                Some(it) => it.missed(at),
                None => {}
            }
        }
        told.map_err(|gone| {
            // What was told is told; what was not is found by beginning anew.
            for (n, lane) in self.lanes.iter().enumerate() {
                let of_view = lane.declared.streams.iter().filter(|it| it.view() == def.name);
                gathering.begin.extend(of_view.map(|it| (n, *it)));
            }
            lost_track(def.name, at, gone.oldest)
        })?;
        Ok(found)
    }

    /// A view that is being built again: its streams begin once it is whole, with all there is.
    pub(super) fn pass_over(&self, view: &View, at: Epoch, gathering: &mut Gathering) {
        let name = view.leaving.def().name;
        if let Err(gone) = view.leaving.touched(gathering.upto, at, false, &mut |_| {}) {
            tracing::debug!(view = name, at, oldest = gone.oldest, "nothing is told of it yet");
        }
        for (n, lane) in self.lanes.iter().enumerate() {
            for stream in lane.declared.streams.iter().filter(|it| it.view() == name) {
                if !gathering.begin.contains(&(n, *stream)) {
                    gathering.begin.push((n, *stream));
                }
            }
            if let Some(it) = lane.shared.lock().waiting.get_mut(name) {
                it.missed(at);
            }
        }
    }

    pub(super) fn gather_events(&self, at: Epoch, gathering: &mut Gathering) -> bool {
        let taken = {
            let mut events = self.events.lock();
            let later = events.split_off(&(at + 1));
            std::mem::replace(&mut *events, later)
        };
        let takers: Vec<usize> =
            (0..self.lanes.len()).filter(|n| self.lanes[*n].takes(&Stream::Events)).collect();
        let found = !taken.is_empty();
        for packed in taken.into_values() {
            self.events_bytes.fetch_sub(packed.bytes().len() as u64, SeqCst);
            let mut packing = Packing::of(&Stream::Events, at, takers.clone());
            for item in packed.pieces() {
                packing.put(self, gathering, |into| into.again(item));
            }
            packing.end(self, gathering);
        }
        found
    }

    /// A stream begins with all there is; of a view whose rows leave from the map nothing lies in
    /// the log: they are looked for.
    pub(super) fn begin(&self, lane: usize, stream: &Stream, at: Epoch, gathering: &mut Gathering) {
        let Some(view) = self.views.iter().find(|it| it.leaving.def().name == stream.view()) else {
            return;
        };
        if matches!(stream, Stream::Rows(_)) && view.leaving.is_kept() {
            return;
        }
        let mut packing = Packing::beginning(stream, at, lane);
        let shown = view.reader.for_each(at, &mut |name, row| {
            packing.put(self, gathering, |into| into.row(name, at, Some(&row)));
        });
        packing.end(self, gathering);
        if let Err(gone) = shown {
            let report = lost_track(stream.view(), at, gone.oldest);
            log_report!(error, report, "a stream could not begin");
            gathering.begin.push((lane, *stream));
        }
    }
}

fn lost_track(view: &str, at: Epoch, oldest: Epoch) -> Report {
    Report {
        code: "sinks/lost-track",
        what: "could not gather what changed in a view".into(),
        at: vec![("view", view.into()), ("epoch", at.to_string())],
        why: format!("expected the epoch to be held, found that {oldest} is the oldest"),
        effect: "nothing is lost: the view's streams begin anew, with all their rows".into(),
        fix: "it goes on by itself; report it".into(),
    }
}
