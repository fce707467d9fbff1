//! What a route is: who may ask, what for, with which parameters, answered how.

use super::routes::ROUTES;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words are in the table")]
pub enum Endpoint {
    Row,
    List,
    Views,
    Read,
    Sql,
    Notifications,
    Acknowledge,
    Snooze,
    Events,
    QueueOrder,
    QueueClaim,
    QueueRelease,
    QueueComplete,
    Stream,
    Ledger,
    Rejects,
    Live,
    Ready,
    Metrics,
    Dataflow,
    OpenApi,
    AdminStatus,
    AdminShutdown,
    AdminLog,
    AdminRecords,
    AdminRejects,
    AdminRejectCounts,
    AdminRetry,
    AdminFeeds,
    AdminResetFeed,
    AdminState,
    AdminCheckpoints,
    AdminVerify,
    AdminBackup,
    AdminPublish,
    AdminSeal,
    AdminErasures,
    AdminSinks,
    AdminAside,
    AdminSink,
    AdminMessages,
    AdminReload,
    AdminChannels,
    AdminChannel,
}

/// Who may ask, and what the answer is filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Everything in the answer is the caller's tenant's.
    Tenant,
    /// Holds nothing of any tenant's: counts, health, the document.
    Process,
    /// From this machine only, and not from a page in a browser.
    Loopback,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in OpenAPI")]
pub enum Place {
    Path,
    Query,
    Header,
}

/// A parameter of a route.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// A number, or text.
    pub number: bool,
    /// What it means.
    pub words: &'static str,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// What it does.
    pub endpoint: Endpoint,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path; `{view}` is one segment, `{key}` all that follow.
    pub path: &'static str,
    /// Who may ask.
    pub class: Class,
    /// What it is for, one sentence.
    pub words: &'static str,
    /// Its parameters, besides those of its class.
    pub parameters: &'static [Parameter],
    /// Further query parameters are equality filters on the view's fields.
    pub filters: bool,
    /// Media types of the body, if it takes one.
    pub body: &'static [&'static str],
    /// Media type of the good answer.
    pub answer: &'static str,
    /// Every status it may answer, and when.
    pub answers: &'static [(u16, &'static str)],
}

/// What a path's placeholders stand for, still percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// `{view}`, `{queue}`, or `{message}`.
    pub view: String,
    /// `{key}`
    pub key: String,
}

impl Route {
    /// What the placeholders stand for, if this path is one of the route's.
    pub fn captures(&self, path: &str) -> Option<Captures> {
        let Some((before, placeholders)) = self.path.split_once('{') else {
            return (self.path == path).then(Captures::default);
        };
        let mut rest = path.strip_prefix(before)?;
        // What follows the placeholder as it stands: `/claim`.
        let (_, after) = placeholders.split_once('}')?;
        if !after.contains('{') {
            rest = rest.strip_suffix(after)?;
        }
        let (view, key) = match (placeholders.contains('{'), rest.split_once('/')) {
            (true, Some((view, key))) if !key.is_empty() => (view, key),
            (false, None) => (rest, ""),
            _ => return None,
        };
        (!view.is_empty()).then(|| Captures { view: view.to_string(), key: key.to_string() })
    }

    /// The route at this place of the table.
    pub fn of(endpoint: Endpoint) -> &'static Route {
        ROUTES.iter().find(|it| it.endpoint == endpoint).expect("every endpoint has its route")
    }
}
