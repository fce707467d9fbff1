//! Which topics are there, by their ids: a topic made again under its old name has another one.
//!
//! In: a client, names of topics. Out: id and number of partitions of each, or why not.
//!
//! # Invariants
//! What the `unsafe` here relies on: everything that is made is given back once, in [`Owned`];
//! what a result points to lives as long as its event, and is copied before that is given back.
//!
//! # Why this way
//! librdkafka reads on at the old offset when a topic is made again with more records, without a
//! word. Only the topic's id tells, and the safe interface does not show it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as raw;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// A topic as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Its name.
    pub(super) name: String,
    /// Its id and its number of partitions, or the cluster's answer.
    pub(super) found: Result<(String, u32), RDKafkaErrorCode>,
}

/// Asks the cluster about these topics, and waits for the answer.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    wait: Duration,
) -> Result<Vec<Described>, RDKafkaErrorCode> {
    let names: Vec<CString> =
        topics.iter().filter_map(|it| CString::new(it.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|it| it.as_ptr()).collect();
    if pointers.is_empty() {
        return Ok(Vec::new());
    }
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives for this call; names and places are ours and outlive the calls that
    // take them (librdkafka copies them); what is made is given back by `Owned`, the event last.
    unsafe {
        let client = client.native_ptr();
        let queue = Owned(raw::rd_kafka_queue_new(client), raw::rd_kafka_queue_destroy);
        let collection = Owned(
            raw::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            raw::rd_kafka_TopicCollection_destroy,
        );
        raw::rd_kafka_DescribeTopics(client, collection.0, ptr::null(), queue.0);
        let event = Owned(raw::rd_kafka_queue_poll(queue.0, wait), raw::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let failed = raw::rd_kafka_event_error(event.0);
        if failed != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed.into());
        }
        let result = raw::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Unknown);
        }
        let mut n = 0;
        let all = raw::rd_kafka_DescribeTopics_result_topics(result, &mut n);
        Ok((0..n).map(|at| described(*all.add(at))).collect())
    }
}

/// # Safety
/// The description's event lives.
unsafe fn described(topic: *const raw::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: the caller says so; texts end in a zero.
    unsafe {
        let name = CStr::from_ptr(raw::rd_kafka_TopicDescription_name(topic));
        let name = name.to_string_lossy().into_owned();
        let failed = raw::rd_kafka_error_code(raw::rd_kafka_TopicDescription_error(topic));
        if failed != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Described { name, found: Err(failed.into()) };
        }
        let id = raw::rd_kafka_Uuid_base64str(raw::rd_kafka_TopicDescription_topic_id(topic));
        let id = match id.is_null() {
            true => String::new(),
            false => CStr::from_ptr(id).to_string_lossy().into_owned(),
        };
        let mut partitions = 0;
        raw::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        Described { name, found: Ok((id, u32::try_from(partitions).unwrap_or(u32::MAX))) }
    }
}

/// Something of librdkafka's that is given back once.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made where this was made, and given back only here.
            unsafe { (self.1)(self.0) }
        }
    }
}
