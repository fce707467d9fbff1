//! What an error means for reading, and how the serious ones are told.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::report::Report;

/// What an error means; the later, the more a person has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// No error: a partition's end, a wait that ran out.
    Nothing,
    /// It goes on by itself: a broker is away, a leader moves.
    Transient,
    /// What was there cannot be read: it is counted as lost.
    Damage,
    /// We may not.
    Authorisation,
    /// We are not who we say, or the broker is not.
    Authentication,
    /// A setting is wrong.
    Configuration,
    /// The client is of no use any more.
    Fatal,
}

impl Kind {
    /// As metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Nothing => "none",
            Kind::Transient => "transient",
            Kind::Damage => "damage",
            Kind::Authorisation => "authorisation",
            Kind::Authentication => "authentication",
            Kind::Configuration => "configuration",
            Kind::Fatal => "fatal",
        }
    }
}

/// What an error means. One that is not named is transient: it never ends reading without a word.
pub(super) fn kind(code: Code) -> Kind {
    match code {
        Code::NoError | Code::PartitionEOF | Code::AutoOffsetReset => Kind::Nothing,
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage => Kind::Damage,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => Kind::Authorisation,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Kind::Authentication,
        Code::InvalidArgument | Code::UnsupportedFeature | Code::NotConfigured => {
            Kind::Configuration
        }
        Code::Fatal | Code::CriticalSystemResource => Kind::Fatal,
        _ => Kind::Transient,
    }
}

/// The cluster cannot be reached, or refuses us.
pub(super) fn not_connected(feed: &str, brokers: &str, code: Option<Code>, words: &str) -> Report {
    let refused = code.map_or(Kind::Transient, kind) >= Kind::Authorisation;
    let effect = "nothing of it is read meanwhile; nothing is lost; other feeds go on".to_string();
    let at = vec![("feed", feed.to_string()), ("brokers", brokers.to_string())];
    let why = if words.is_empty() { "no answer came".to_string() } else { words.to_string() };
    match refused {
        true => Report {
            code: "ingest/kafka-refused",
            what: "could not begin to read from Kafka: it refuses us, or we it".into(),
            at,
            why,
            effect,
            fix: "correct user, password, rights or authorities; reading begins by itself (a \
                  password file is read again at each try)"
                .into(),
        },
        false => Report {
            code: "ingest/kafka-unreachable",
            what: "could not reach Kafka".into(),
            at,
            why,
            effect,
            fix: "see that the brokers run and that `brokers` names them; reading begins by \
                  itself; if the port wants TLS, say `tls_ca`"
                .into(),
        },
    }
}

/// A setting is not taken by librdkafka, or a password cannot be read.
pub(super) fn cannot_make(feed: &str, why: &super::clients::CannotMake) -> Report {
    use super::clients::CannotMake;
    let (at, why) = match why {
        CannotMake::Password(file, why) => (("file", file.clone()), why.clone()),
        CannotMake::Setting(why) => (("setting", "kafka".into()), why.clone()),
    };
    Report {
        code: "ingest/kafka-settings",
        what: "cannot make a Kafka client of these settings".into(),
        at: vec![("feed", feed.to_string()), at],
        why,
        effect: "nothing of it is read; nothing is lost; other feeds go on".into(),
        fix: "correct the `[[kafka]]` named, then `millstream check`".into(),
    }
}

/// Offsets that the log no longer has.
pub(super) fn lost(feed: &str, partition: i32, from: u64, to: u64) -> Report {
    Report {
        code: "ingest/kafka-lost",
        what: "records were removed before they were read".into(),
        at: vec![
            ("feed", feed.to_string()),
            ("partition", partition.to_string()),
            ("offset", from.to_string()),
        ],
        why: format!("expected offset {from}, found that the log begins at {to}"),
        effect: format!("{} offsets are counted as lost; reading goes on at {to}", to - from),
        fix: "lengthen the topic's retention, or look why reading fell so far behind".into(),
    }
}

/// Offsets whose records cannot be read, up to the first that can.
pub(super) fn damaged(feed: &str, partition: i32, from: u64, to: u64) -> Report {
    Report {
        code: "ingest/kafka-damaged",
        what: "cannot read records: they are damaged".into(),
        at: vec![
            ("feed", feed.to_string()),
            ("partition", partition.to_string()),
            ("offset", from.to_string()),
        ],
        why: format!(
            "expected whole batches, found none with a good checksum before {to}, asked twice"
        ),
        effect: format!("{} offsets are counted as lost; reading goes on at {to}", to - from),
        fix: "look at the broker's disk; send the records again if they exist elsewhere".into(),
    }
}

/// The topic is another one than the one that we have read.
pub(super) fn another_topic(feed: &str, why: String) -> Report {
    Report {
        code: "ingest/kafka-another-topic",
        what: "cannot go on reading a topic: it is not the one that was read before".into(),
        at: vec![("feed", feed.to_string())],
        why,
        effect: "it is no longer read, so that nothing is skipped or counted twice; what was read \
                 before stands; other feeds go on"
            .into(),
        fix: format!(
            "if the new topic is meant: `millstream feed reset {feed} --to earliest` (or latest, a \
             time, an offset), then start again; what was applied before is known by its identity"
        ),
    }
}

/// The partition is shorter than what we have read.
pub(super) fn past_the_end(feed: &str, partition: i32, next: u64, end: u64) -> Report {
    Report {
        at: vec![("feed", feed.to_string()), ("partition", partition.to_string())],
        ..another_topic(
            feed,
            format!("expected offset {next} to be next, found that the partition ends at {end}"),
        )
    }
}

/// Another cluster answers at the same address.
pub(super) fn another_cluster(feed: &str, was: &str, is: &str) -> Report {
    Report {
        code: "ingest/kafka-another-cluster",
        what: "cannot go on reading: another cluster answers".into(),
        at: vec![("feed", feed.to_string())],
        why: format!("expected the cluster {was}, found {is}"),
        effect: "none of its topics is read; what was read before stands; other feeds go on".into(),
        fix: format!(
            "correct `brokers`; if the new cluster is meant: `millstream feed reset {feed} --to \
             earliest` (or latest, a time), then start again"
        ),
    }
}

/// Reading does not go on although there is something to read.
pub(super) fn stuck(feed: &str, partition: i32, next: u64, end: u64, rebuilds: u32) -> Report {
    Report {
        code: "ingest/kafka-stuck",
        what: "could not make reading from Kafka go on".into(),
        at: vec![
            ("feed", feed.to_string()),
            ("partition", partition.to_string()),
            ("offset", next.to_string()),
        ],
        why: format!(
            "the partition reaches to {end}, and {rebuilds} new consumers brought no record"
        ),
        effect: "the process ends; nothing that was acknowledged is lost".into(),
        fix: "start again; if it repeats, look at the broker's log and report this text".into(),
    }
}

/// librdkafka has said that it cannot go on.
pub(super) fn fatal(feed: &str, words: &str) -> Report {
    Report {
        code: "ingest/kafka-fatal",
        what: "could not go on reading from Kafka: its client has given up".into(),
        at: vec![("feed", feed.to_string())],
        why: words.to_string(),
        effect: "the process ends; nothing that was acknowledged is lost".into(),
        fix: "start again; if it repeats, report this text".into(),
    }
}

/// There are as many feeds as there can be.
pub(super) fn too_many(feed: &str, limit: usize) -> Report {
    Report {
        code: "ingest/kafka-too-many",
        what: "cannot read another topic".into(),
        at: vec![("feed", feed.to_string())],
        why: format!("expected at most {limit} topics"),
        effect: "the topic is not read; the others go on".into(),
        fix: "narrow `pattern`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what goes on by itself is left alone, what a person has to mend is told, and only what
    /// cannot be mended ends anything. Method: a table of codes.
    #[test]
    fn a_table_of_codes() {
        for (code, expected) in [
            (Code::BrokerTransportFailure, Kind::Transient),
            (Code::AllBrokersDown, Kind::Transient),
            (Code::Resolve, Kind::Transient),
            (Code::OperationTimedOut, Kind::Transient),
            (Code::NotLeaderForPartition, Kind::Transient),
            (Code::UnknownTopicOrPartition, Kind::Transient),
            (Code::Unknown, Kind::Transient),
            (Code::PartitionEOF, Kind::Nothing),
            (Code::AutoOffsetReset, Kind::Nothing),
            (Code::BadMessage, Kind::Damage),
            (Code::TopicAuthorizationFailed, Kind::Authorisation),
            (Code::Authentication, Kind::Authentication),
            (Code::SSL, Kind::Authentication),
            (Code::Fatal, Kind::Fatal),
        ] {
            assert_eq!(kind(code), expected, "{code:?}");
        }
        let code = |it| not_connected("k", "b:1", it, "words").code;
        assert_eq!(code(None), "ingest/kafka-unreachable");
        assert_eq!(code(Some(Code::AllBrokersDown)), "ingest/kafka-unreachable");
        assert_eq!(code(Some(Code::SSL)), "ingest/kafka-refused");
        let report = lost("k/t", 2, 10, 15);
        assert!(report.effect.starts_with("5 offsets are counted as lost"), "{report}");
    }
}
