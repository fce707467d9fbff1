//! The protocol by hand, for records that no client sends: any CreateTime, zero and negative.
//!
//! Produce version 3 and record batches version 2, one record a batch
//! (kafka.apache.org, "Kafka protocol guide" and "Record batch").

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::Record;
use crate::topics::Topic;
use crate::wait::PATIENCE;

/// Sends one record to its partition (0 if it names none) with exactly its timestamp: the offset,
/// or the broker's error code.
pub fn send(topic: &Topic, record: &Record) -> Result<i64, i16> {
    let batch = batch(record);
    let mut request = Vec::new();
    // Header: Produce is 0; a correlation, and no client id.
    for it in [0_i16, 3] {
        request.extend(it.to_be_bytes());
    }
    request.extend(7_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    // No transaction; acknowledged by all; in so many milliseconds.
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(10_000_i32.to_be_bytes());
    // One topic, one partition, its batch.
    request.extend(1_i32.to_be_bytes());
    request.extend((topic.name.len() as i16).to_be_bytes());
    request.extend(topic.name.as_bytes());
    for it in [1, record.partition.unwrap_or(0), batch.len() as i32] {
        request.extend(it.to_be_bytes());
    }
    request.extend(&batch);

    let mut stream = TcpStream::connect(&topic.brokers).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, one topic with its name, one partition with its number: then what we want.
    let at = 4 + 4 + 2 + topic.name.len() + 4 + 4;
    match i16::from_be_bytes(answer[at..at + 2].try_into().unwrap()) {
        0 => Ok(i64::from_be_bytes(answer[at + 2..at + 10].try_into().unwrap())),
        code => Err(code),
    }
}

fn batch(record: &Record) -> Vec<u8> {
    let mut body = vec![0]; // the record's attributes
    number(&mut body, 0); // after the batch's time
    number(&mut body, 0); // after the batch's offset
    bytes(&mut body, record.key.as_deref());
    bytes(&mut body, record.value.as_deref());
    number(&mut body, record.headers.len() as i64);
    for (name, value) in &record.headers {
        bytes(&mut body, Some(name.as_bytes()));
        bytes(&mut body, value.as_deref());
    }
    let timestamp = record.timestamp.expect("this is what it is for").to_be_bytes();
    // What the checksum covers.
    let mut covered = Vec::new();
    covered.extend(0_i16.to_be_bytes()); // no codec, CreateTime, no transaction
    covered.extend(0_i32.to_be_bytes()); // the last record's offset
    covered.extend(timestamp);
    covered.extend(timestamp);
    covered.extend((-1_i64).to_be_bytes()); // no producer id, epoch, sequence
    covered.extend((-1_i16).to_be_bytes());
    covered.extend((-1_i32).to_be_bytes());
    covered.extend(1_i32.to_be_bytes());
    number(&mut covered, body.len() as i64);
    covered.extend(&body);

    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes()); // base offset: the broker says it
    batch.extend((covered.len() as i32 + 4 + 1 + 4).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes()); // no leader epoch
    batch.push(2);
    batch.extend(crc32c::crc32c(&covered).to_be_bytes());
    batch.extend(&covered);
    batch
}

/// Zigzag, seven bits a byte.
fn number(to: &mut Vec<u8>, it: i64) {
    let mut rest = ((it << 1) ^ (it >> 63)) as u64;
    while rest > 0x7f {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

fn bytes(to: &mut Vec<u8>, it: Option<&[u8]>) {
    match it {
        None => number(to, -1),
        Some(it) => {
            number(to, it.len() as i64);
            to.extend(it);
        }
    }
}
