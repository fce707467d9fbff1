//! A case's state as bytes, and back.
//!
//! # Why this way
//! Whose case an assignment or a resolution names stands in the state by itself, the newest; that
//! each statement holds its own too is for the way there, and is not written.

use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::MAX_SKILLS;

use super::{Assigned, Case, Cases, Named, Opened, Resolved};
use crate::Keep;
use crate::owners::Others;
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::Stamp;

/// Flags: which statements stand, in this order.
const OPENED: u8 = 1;
const ASSIGNED: u8 = 2;
const RESOLVED: u8 = 4;
/// The newest assignment that names a queue is another than the newest.
const QUEUED: u8 = 8;
/// It is the newest.
const QUEUED_TOO: u8 = 16;
const NAMED: u8 = 32;
const OTHERS: u8 = 64;

impl Keep for Cases {
    const LAYOUT: &'static str = layout!(
        "cases 3: flags, opened (stamp, owner, customer, queue, text, skills, severity), assigned \
         (stamp, agent, queue, whether until, until), resolved (stamp, resolution), queued (as assigned), named (stamp, \
         owner, customer), others who were named (0: none; 1: it is gone; else how many and one, \
         and each)"
    );

    fn store(state: &Case, into: &mut Vec<u8>) {
        let Case { opened, assigned, resolved, queued, named, others } = state;
        let too = matches!((assigned, queued), (Some(a), Some(q)) if a.stamp == q.stamp && a.queue == q.queue);
        let queued = queued.as_ref().filter(|_| !too);
        let mut flags = 0;
        let mut flag = |bit: u8, is: bool| flags |= if is { bit } else { 0 };
        flag(OPENED, opened.is_some());
        flag(ASSIGNED, assigned.is_some());
        flag(RESOLVED, resolved.is_some());
        flag(QUEUED, queued.is_some());
        flag(QUEUED_TOO, too);
        flag(NAMED, named.is_some());
        flag(OTHERS, !others.is_none());
        into.push(flags);
        let mut writer = Writer(into);
        if let Some(it) = opened {
            it.store(&mut writer);
        }
        if let Some(it) = assigned {
            it.store(&mut writer);
        }
        if let Some(it) = resolved {
            it.stamp.store(&mut writer);
            writer.maybe(it.resolution.as_deref());
        }
        if let Some(it) = queued {
            it.store(&mut writer);
        }
        if let Some(it) = named {
            it.stamp.store(&mut writer);
            writer.id(it.owner);
            writer.text(&it.customer);
        }
        if !others.is_none() {
            others.store(&mut writer);
        }
    }

    fn restore(bytes: &[u8]) -> Option<Case> {
        let mut from = Checked(bytes);
        let flags = from.byte().filter(|it| it >> 7 == 0)?;
        let mut case = Case::default();
        if flags & OPENED != 0 {
            case.opened = Some(Arc::new(Opened::restore(&mut from)?));
        }
        if flags & ASSIGNED != 0 {
            case.assigned = Some(Arc::new(Assigned::restore(&mut from)?));
        }
        if flags & RESOLVED != 0 {
            let stamp = Stamp::restore(&mut from)?;
            let resolution = from.maybe()?.map(CompactString::from);
            case.resolved = Some(Arc::new(Resolved { stamp, resolution, named: None }));
        }
        case.queued = match flags & (QUEUED | QUEUED_TOO) {
            0 => None,
            QUEUED => Some(Arc::new(Assigned::restore(&mut from)?)),
            QUEUED_TOO => Some(case.assigned.clone()?),
            _ => return None,
        };
        if flags & NAMED != 0 {
            let stamp = Stamp::restore(&mut from)?;
            let owner = from.id()?;
            let customer = from.text()?.into();
            case.named = Some(Arc::new(Named { stamp, owner, customer }));
        }
        if flags & OTHERS != 0 {
            case.others = Others::restore(&mut from).filter(|it| !it.is_none())?;
        }
        from.end()?;
        Some(case)
    }
}

impl Opened {
    fn store(&self, into: &mut Writer<'_>) {
        self.stamp.store(into);
        into.id(self.owner);
        into.text(&self.customer);
        into.text(&self.queue);
        into.maybe(self.text.as_deref());
        into.count(self.skills.len() as u64);
        self.skills.iter().for_each(|it| into.text(it));
        into.count(self.severity.into());
    }

    fn restore(from: &mut Checked<'_>) -> Option<Opened> {
        let stamp = Stamp::restore(from)?;
        let owner = from.id()?;
        let customer = from.text()?.into();
        let queue = from.text()?.into();
        let text = from.maybe()?.map(CompactString::from);
        let n = from.count::<usize>().filter(|it| *it <= MAX_SKILLS)?;
        let skills: Option<Box<[CompactString]>> =
            (0..n).map(|_| from.text().map(CompactString::from)).collect();
        Some(Opened {
            stamp,
            owner,
            customer,
            queue,
            text,
            skills: skills?,
            severity: from.count()?,
        })
    }
}

impl Assigned {
    fn store(&self, into: &mut Writer<'_>) {
        self.stamp.store(into);
        into.text(&self.agent);
        into.maybe(self.queue.as_deref());
        into.count(u64::from(self.until.is_some()));
        if let Some(it) = self.until {
            into.int(it);
        }
    }

    fn restore(from: &mut Checked<'_>) -> Option<Assigned> {
        let stamp = Stamp::restore(from)?;
        let agent = from.text()?.into();
        let queue = from.maybe()?.map(CompactString::from);
        let until = match from.count::<u64>()? {
            0 => None,
            1 => Some(from.int()?),
            _ => return None,
        };
        Some(Assigned { stamp, agent, queue, until, named: None })
    }
}
