//! Records of one partition by the batch, through librdkafka's own interface.
//!
//! In: a consumer, a topic, a partition. Out: [`Read`]s, borrowed for the length of a call.
//!
//! # Invariants
//! What each `unsafe` here relies on:
//! - the queue's pointer is from `rd_kafka_queue_get_partition`, is ours alone, and is given back
//!   once (`Drop`), before the consumer: `detached` holds the consumer alive and is dropped after.
//! - a message is given back once, after its turn, also if the caller panics ([`Given`]); what is
//!   borrowed from it cannot outlive its turn, because [`Read`] has the lifetime of the call.
//! - pointer and length of payload and key are librdkafka's, valid while the message is; null
//!   means absent, whatever the length.
//! - codes in `err` are of the enum that rdkafka-sys generated from the same sources.
//!
//! Neither pause nor position is used here or anywhere: with batches and partition ends they lose
//! a record (docs/decisions/kafka-batches.md).
//!
//! # Why this way
//! The safe way hands over one record a call, at twice the CPU for a whole client. Nothing but the
//! batch call needs to be unsafe, so nothing else is in this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// One thing that a partition's queue held.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// A record.
    Record(Record<'a>),
    /// The partition's end: exactly the next offset.
    End(i64),
    /// An error about this partition: code, the offset it is about, librdkafka's words.
    Trouble(RDKafkaErrorCode, i64, String),
}

/// A record, as long as its turn lasts.
pub(super) struct Record<'a> {
    message: &'a raw::rd_kafka_message_t,
    /// Its offset.
    pub(super) offset: i64,
    /// `None`: a tombstone.
    pub(super) payload: Option<&'a [u8]>,
    /// Its key.
    pub(super) key: Option<&'a [u8]>,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({})", self.offset)
    }
}

/// Who set a record's timestamp, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// The broker, when it took the record.
    Appended(i64),
    /// Whoever produced it.
    Created(i64),
    /// Nobody.
    Absent,
}

impl Record<'_> {
    /// When it was taken, or made.
    pub(super) fn stamp(&self) -> Stamp {
        let mut kind = raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives (module doc); `kind` is ours.
        let at = unsafe { raw::rd_kafka_message_timestamp(self.message, &mut kind) };
        match kind {
            raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
                Stamp::Appended(at)
            }
            raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => Stamp::Created(at),
            _ => Stamp::Absent,
        }
    }

    /// Its headers, in order; a name may repeat, a value may be absent.
    pub(super) fn headers(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives; it keeps the list, which is not to be given back.
        let found = unsafe { raw::rd_kafka_message_headers(self.message, &mut headers) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return;
        }
        for at in 0.. {
            let (mut name, mut value, mut len): (*const c_char, *const c_void, usize) =
                (ptr::null(), ptr::null(), 0);
            // SAFETY: the list lives as long as the message; the three places are ours. On success
            // the name ends in a zero and the value has `len` bytes, both as long as the list.
            let (name, value) = unsafe {
                let got =
                    raw::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut len);
                if got != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                (CStr::from_ptr(name), slice(value.cast(), len))
            };
            each(name.to_bytes(), value);
        }
    }
}

/// How many events wait in a consumer's own queue: errors, statistics, lines of its log.
pub(super) fn events_waiting<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> usize {
    // SAFETY: the client lives; the queue is one more reference, given back once.
    unsafe {
        let queue = raw::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        if queue.is_null() {
            return 0;
        }
        let n = raw::rd_kafka_queue_length(queue);
        raw::rd_kafka_queue_destroy(queue);
        n
    }
}

/// A partition's queue, apart from the consumer's.
pub(super) struct Batches<C: ConsumerContext + 'static> {
    queue: NonNull<raw::rd_kafka_queue_t>,
    slots: Vec<*mut raw::rd_kafka_message_t>,
    /// Holds the consumer, and rings when the queue is no longer empty. Dropped after `queue`.
    _detached: rdkafka::consumer::base_consumer::PartitionQueue<C>,
}

impl<C: ConsumerContext + 'static> Batches<C> {
    /// Takes this partition's records away from the consumer's own queue. To be called before the
    /// partition is assigned. `ring` is called by librdkafka's threads when records come.
    pub(super) fn of(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> Option<Batches<C>> {
        let mut detached = consumer.split_partition_queue(topic, partition)?;
        detached.set_nonempty_callback(ring);
        let name = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives, the name ends in a zero; the queue is one more reference to
        // the one that `detached` holds, ours to give back.
        let queue = unsafe { raw::rd_kafka_queue_get_partition(client, name.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        Some(Batches { queue, slots: Vec::new(), _detached: detached })
    }

    /// Hands over at most `max` of what waits, without waiting for more. How many there were.
    pub(super) fn read(
        &mut self,
        max: usize,
        mut each: impl FnMut(Read<'_>),
    ) -> Result<usize, RDKafkaErrorCode> {
        self.slots.resize(max.max(1), ptr::null_mut());
        // SAFETY: the queue is ours; there are as many places as we say.
        let n = unsafe {
            raw::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                0,
                self.slots.as_mut_ptr(),
                self.slots.len(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            // SAFETY: reads a value of this thread.
            return Err(unsafe { raw::rd_kafka_last_error() }.into());
        };
        let mut given = Given(&self.slots[..n]);
        while let Some(message) = given.first() {
            each(told(message));
            given.give_back();
        }
        Ok(n)
    }
}

impl<C: ConsumerContext + 'static> Drop for Batches<C> {
    fn drop(&mut self) {
        // SAFETY: ours, once; `detached`, and with it the consumer, is dropped after this.
        unsafe { raw::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Messages that are still to be given back.
struct Given<'a>(&'a [*mut raw::rd_kafka_message_t]);

impl Given<'_> {
    fn first(&self) -> Option<&raw::rd_kafka_message_t> {
        // SAFETY: librdkafka filled this place in the call at hand, and it is not given back yet.
        self.0.first().map(|it| unsafe { &**it })
    }

    fn give_back(&mut self) {
        if let Some((message, rest)) = self.0.split_first() {
            self.0 = rest;
            // SAFETY: as above; it is no longer in the list, so this is the only time.
            unsafe { raw::rd_kafka_message_destroy(*message) }
        }
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.give_back();
        }
    }
}

fn told(message: &raw::rd_kafka_message_t) -> Read<'_> {
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: payload and key are librdkafka's and live as long as the message.
            let (payload, key) = unsafe {
                (
                    slice(message.payload.cast(), message.len),
                    slice(message.key.cast(), message.key_len),
                )
            };
            Read::Record(Record { message, offset: message.offset, payload, key })
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Read::End(message.offset),
        code => {
            // SAFETY: the message lives; its text ends in a zero and lives as long, or is null.
            let text = unsafe {
                let text = raw::rd_kafka_message_errstr(message);
                match text.is_null() {
                    true => String::new(),
                    false => CStr::from_ptr(text).to_string_lossy().into_owned(),
                }
            };
            Read::Trouble(code.into(), message.offset, text)
        }
    }
}

/// # Safety
/// Unless it is null, there are `len` bytes from `start` on, and they live for `'a`.
unsafe fn slice<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller says so.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, len) })
}
