//! Items of one stream on their way into the blocks of those who take it.

use super::batch::Stream;
use super::book::Gathered;
use super::coding::Packed;
use super::outbox::{Gathering, Outbox};
use crate::messages::Epoch;

/// Items are gathered into blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks are written when so much has come together, or with the checkpoint.
const WRITE_BYTES: usize = 64 << 20;

/// Items of a stream at an instant; each of those who take it has them under its own life.
pub(super) struct Packing {
    stream: Stream,
    at: Epoch,
    /// They are all there is.
    beginning: bool,
    items: Packed,
    takers: Vec<usize>,
}

impl Packing {
    pub(super) fn of(stream: &Stream, at: Epoch, takers: Vec<usize>) -> Packing {
        Packing { stream: *stream, at, beginning: false, items: Packed::default(), takers }
    }

    /// The same, of all there is.
    pub(super) fn beginning(stream: &Stream, at: Epoch, taker: usize) -> Packing {
        Packing { beginning: true, ..Packing::of(stream, at, vec![taker]) }
    }

    pub(super) fn put(
        &mut self,
        outbox: &Outbox,
        gathering: &mut Gathering,
        item: impl FnOnce(&mut Packed),
    ) {
        if self.takers.is_empty() {
            return;
        }
        item(&mut self.items);
        let rows = self.takers.iter().map(|n| outbox.lanes[*n].declared.limits.rows).min();
        if self.items.bytes().len() >= BLOCK_BYTES || Some(self.items.len()) >= rows {
            self.close(outbox, gathering);
        }
    }

    fn close(&mut self, outbox: &Outbox, gathering: &mut Gathering) {
        for n in &self.takers {
            let life = outbox.lanes[*n].incarnation;
            let mut block = Gathered::head(&self.stream, life, self.at, self.beginning);
            block.extend_from_slice(self.items.bytes());
            gathering.bytes += block.len();
            gathering.unwritten.push((*n, block));
        }
        self.items.clear();
        if gathering.bytes >= WRITE_BYTES {
            // What fails here is told by the last write of the gathering.
            if let Err(report) = outbox.write(gathering) {
                tracing::debug!(code = report.code, "an outbox does not take its blocks yet");
            }
        }
    }

    pub(super) fn end(mut self, outbox: &Outbox, gathering: &mut Gathering) {
        if !self.items.is_empty() {
            self.close(outbox, gathering);
        }
    }
}
