//! What a cluster still holds of topics that were read before: asked once, before anything is
//! decided by it.
//!
//! # When it fails
//! A cluster that does not answer within [`PATIENCE`] is told; nobody then says what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::clients::{self, ANSWER, Ear, Heard};
use super::recorded::Recorded;
use super::{topic_ids, trouble};
use crate::clock;
use crate::config::KafkaSettings;
use crate::messages::BookLine;
use crate::report::Report;

/// A cluster that is starting answers within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tried again so often.
const AGAIN: Duration = Duration::from_millis(200);

/// What of these lines cannot be read once more from where they began, in words: from where it
/// could. Empty: all of it can. Only lines of this cluster are looked at.
pub fn lacking(settings: &KafkaSettings, lines: &[BookLine]) -> Result<Vec<String>, Report> {
    let mut topics: BTreeMap<&str, Vec<&BookLine>> = BTreeMap::new();
    for line in lines {
        if let Some((cluster, topic)) = line.feed.split_once('/')
            && cluster == settings.name
        {
            topics.entry(topic).or_default().push(line);
        }
    }
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let heard = Arc::new(Heard::default());
    let made = clients::control(settings, &heard);
    let client = made.map_err(|it| trouble::cannot_make(&settings.name, &it))?;
    let until = clock::monotonic() + PATIENCE;
    loop {
        match look(&client, &topics) {
            Ok(found) => return Ok(found),
            Err(why) if clock::monotonic() >= until => {
                let brokers = settings.brokers.join(",");
                let (code, words) = heard.take_cause().map_or((None, why), |it| (Some(it.0), it.1));
                return Err(trouble::not_connected(&settings.name, &brokers, code, &words));
            }
            Err(_) => std::thread::park_timeout(AGAIN),
        }
    }
}

fn look(
    client: &BaseConsumer<Ear>,
    topics: &BTreeMap<&str, Vec<&BookLine>>,
) -> Result<Vec<String>, String> {
    let told = |why: rdkafka::error::KafkaError| why.to_string();
    // A question makes it connect; its id comes with the answer.
    client.fetch_metadata(topics.keys().next().copied(), ANSWER).map_err(told)?;
    let cluster = client.client().fetch_cluster_id(ANSWER);
    let cluster = cluster.ok_or_else(|| "its id did not come".to_string())?;
    let names: Vec<String> = topics.keys().map(|it| it.to_string()).collect();
    let described = topic_ids::describe(client.client(), &names, ANSWER);
    let mut lacking = Vec::new();
    for it in described.map_err(|code| code.to_string())? {
        let lines = &topics[it.name.as_str()];
        let id = match it.found {
            Ok((id, _)) => id,
            Err(why) => {
                lacking.push(format!("{}: {why}", lines[0].feed));
                continue;
            }
        };
        for line in lines {
            let identity = line.identity.as_deref().unwrap_or_default();
            if identity != Recorded::identity(&cluster, &id) {
                lacking.push(format!("{} is another topic than the one that was read", line.feed));
                break;
            }
            let partition = i32::try_from(line.partition).unwrap_or(i32::MAX);
            let (low, _) = client.fetch_watermarks(&it.name, partition, ANSWER).map_err(told)?;
            let low = u64::try_from(low).unwrap_or(0);
            let BookLine { feed, partition, first, .. } = line;
            if line.reset > 0 {
                lacking.push(format!(
                    "partition {partition} of {feed} was placed by a reset: what was read before \
                     is not known"
                ));
            }
            if low > line.first && line.next > line.first {
                lacking.push(format!(
                    "partition {partition} of {feed} begins at {low}, and was read from {first} on"
                ));
            }
        }
    }
    Ok(lacking)
}
