//! Who may do what with a topic: access rules of a broker that asks for them, made by hand.
//!
//! CreateAcls and DeleteAcls version 1 (kafka.apache.org, "Kafka protocol guide"): the client that
//! the tests use makes none.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::topics::Topic;
use crate::wait::PATIENCE;

/// The settings of a broker that asks: whoever comes by the plain listener may do all; others may
/// what no rule is about, and what a rule allows them.
pub const ASKING: &[&str] = &[
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
    "allow.everyone.if.no.acl.found=true",
];

/// What a rule is about.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    Read = 3,
    Describe = 8,
}

const CREATE: i16 = 30;
const DELETE: i16 = 31;
const TOPIC: u8 = 2;
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;

/// This user may.
pub fn allow(topic: &Topic, user: &str, right: Right) {
    rule(CREATE, topic, user, right);
}

/// No longer.
pub fn take_back(topic: &Topic, user: &str, right: Right) {
    rule(DELETE, topic, user, right);
}

/// A rule, and a filter that finds exactly it, are written alike.
fn rule(request: i16, topic: &Topic, user: &str, right: Right) {
    let mut words = Vec::new();
    // Header: what, version, correlation, no client id. Then one rule.
    for it in [request, 1] {
        words.extend(it.to_be_bytes());
    }
    words.extend(7_i32.to_be_bytes());
    words.extend((-1_i16).to_be_bytes());
    words.extend(1_i32.to_be_bytes());
    words.push(TOPIC);
    text(&mut words, &topic.name);
    words.push(LITERAL);
    text(&mut words, &format!("User:{user}"));
    text(&mut words, "*");
    words.extend([right as u8, ALLOW]);

    let mut stream = TcpStream::connect(&topic.brokers).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&(words.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&words).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, time of throttling, one result: its code.
    let code = i16::from_be_bytes(answer[12..14].try_into().unwrap());
    assert_eq!(code, 0, "{request} of {right:?}: {}", String::from_utf8_lossy(&answer[14..]));
}

fn text(to: &mut Vec<u8>, it: &str) {
    to.extend((it.len() as i16).to_be_bytes());
    to.extend(it.as_bytes());
}
