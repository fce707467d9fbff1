//! Every route, a line each: the router and `/openapi.json` are both made from this table.

pub use super::route::{Captures, Class, Endpoint, Parameter, Place, Route};

const fn path(name: &'static str, words: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, number: false, words }
}
const fn query(name: &'static str, words: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, number: false, words }
}
const fn number(name: &'static str, words: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, number: true, words }
}
const fn header(name: &'static str, words: &'static str) -> Parameter {
    Parameter { name, place: Place::Header, number: false, words }
}

/// Parameters of every route of a tenant's.
pub static OF_TENANT: &[Parameter] = &[
    query("tenant", "whose data; `default` if absent"),
    header("millstream-tenant", "the same, as a header; both must agree"),
    POSITION,
];

/// Parameters of a route that is of no tenant, and asked by who asks the others too.
const OF_CALLER: &[Parameter] = &[
    query("tenant", "taken, and changes nothing: the answer holds no tenant's data"),
    header("millstream-tenant", "the same"),
    POSITION,
];

const POSITION: Parameter =
    header("millstream-at-least", "a position: wait until the views include it, else 503");

const VIEW: Parameter = path("view", "name of a view, as in /v1/views");
const QUEUE: Parameter = path("queue", "name of a queue, as cases have it, percent-encoded");
const KEY: Parameter = header(
    "idempotency-key",
    "1 to 128 bytes; the same request again with the same key is given the same answer",
);
const MESSAGE: Parameter = path("message", "a message: the key of its row");
const LIMIT: Parameter = number("limit", "rows of a page: 1 to 1,000, 100 if absent");
const CURSOR: Parameter = query("cursor", "where to go on: `next` of the page before");
const JSON: &str = "application/json";
const PARAMETERS: (u16, &str) = (400, "a parameter is not understood");
const AT_LEAST: (u16, &str) = (503, "the position asked for was not reached in time");
const NO_VIEW: (u16, &str) = (404, "no such view");
const LOOPBACK: (u16, &str) = (403, "asked from elsewhere than this machine, or by a web page");
const LONG: (u16, &str) =
    (503, "too many reads of many rows wait, or the position asked for was not reached in time");
const FAILED: (u16, &str) = (503, "could not be done; the report says why");

const DESK: (u16, &str) = (
    503,
    "not decided: too much waits, the log's tail is not applied yet, or it cannot be written",
);

/// Of what an agent does with a case that it has.
const LISTED: &[(u16, &str)] = &[
    (200, "a page"),
    (400, "a parameter is not understood, or a field cannot be filtered by"),
    NO_VIEW,
    (410, "the cursor's instant is no longer kept: begin again"),
    LONG,
];
const MARKED: &[(u16, &str)] = &[
    (200, "so it stands, durably"),
    (400, "the body is not understood"),
    (404, "no such message of this tenant"),
    (408, "the body did not come in time"),
    (413, "the body is larger than its limit"),
    (415, "not JSON"),
    (429, "queues are full: try again after `Retry-After`; nothing was written"),
    (503, "the log does not take it, or the position asked for was not reached in time"),
];
const GIVEN_BACK: &[(u16, &str)] = &[
    (200, "done, durably"),
    (400, "the body or the key is not understood"),
    (404, "no such case"),
    (408, "the body did not come in time"),
    (409, "the agent does not have the case (any more): who has it"),
    (413, "the body is larger than its limit"),
    (415, "not JSON"),
    (422, "the key was used for another request"),
    (429, "queues are full: try again after `Retry-After`; nothing was decided"),
    DESK,
];

/// Every route; those that are asked most come first.
pub static ROUTES: &[Route] = &[
    Route {
        endpoint: Endpoint::Row,
        method: "GET",
        path: "/v1/views/{view}/{key}",
        class: Class::Tenant,
        words: "One row.",
        parameters: &[
            VIEW,
            path("key", "the row's key: its parts, percent-encoded, joined by `/`"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the row"), PARAMETERS, (404, "no such view, or no such row"), AT_LEAST],
    },
    Route {
        endpoint: Endpoint::Events,
        method: "POST",
        path: "/v1/events",
        class: Class::Tenant,
        words: "Takes events in: all of the request, durably, or none of it.",
        parameters: &[query("wait", "`applied`: answer once the events can be read")],
        filters: false,
        body: &["application/cloudevents+json", "application/cloudevents-batch+json", JSON],
        answer: JSON,
        answers: &[
            (202, "in the log, durably"),
            (400, "every problem of every event; nothing was taken"),
            (408, "the body did not come in time; nothing was taken"),
            (413, "the body or an event is larger than its limit; nothing was taken"),
            (415, "not one of the three modes; nothing was taken"),
            (429, "queues are full: try again after `Retry-After`; nothing was taken"),
            (503, "the log cannot be written; nothing was taken"),
        ],
    },
    Route {
        endpoint: Endpoint::List,
        method: "GET",
        path: "/v1/views/{view}",
        class: Class::Tenant,
        words: "Rows in the order of the key's text; a listing is one instant over all its pages.",
        parameters: &[VIEW, LIMIT, CURSOR],
        filters: true,
        body: &[],
        answer: JSON,
        answers: LISTED,
    },
    Route {
        endpoint: Endpoint::Read,
        method: "POST",
        path: "/v1/read",
        class: Class::Tenant,
        words: "Several rows, of several views, at one instant.",
        parameters: &[],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: &[
            (200, "a result for each read, in their order; `row` is null where there is none"),
            (400, "the body is not understood, or names no view"),
            (408, "the body did not come in time"),
            (413, "the body is larger than its limit"),
            (415, "not JSON"),
            AT_LEAST,
        ],
    },
    Route {
        endpoint: Endpoint::Sql,
        method: "POST",
        path: "/v1/sql",
        class: Class::Tenant,
        words: "Statements of SQL over the views, all at one instant: `{\"sql\": …, \"params\": […]}`.",
        parameters: &[
            query(
                "format",
                "json, jsonl (an object a row) or csv; else the first that `Accept` names",
            ),
            header("accept", "application/json, application/x-ndjson or text/csv"),
        ],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: &[
            (200, "columns and rows; the epoch also in the header `Millstream-As-Of`"),
            (400, "the body or the statement is not understood: SQLite's message, and where"),
            (403, "the statement would do more than read"),
            (408, "the body did not come in time"),
            (410, "the statement's instant is no longer kept: ask again"),
            (413, "the body is larger than its limit"),
            (415, "not JSON"),
            (422, "it needs more time, rows, bytes or memory than a statement may have"),
            (
                503,
                "as many statements run and wait as may, or the position was not reached in time",
            ),
        ],
    },
    Route {
        endpoint: Endpoint::QueueOrder,
        method: "GET",
        path: "/v1/queues/{queue}",
        class: Class::Tenant,
        words: "What waits in a queue, in the order in which it would be handed out at this instant.",
        parameters: &[QUEUE, number("limit", "cases: 1 to 1,000, 100 if absent")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[
            (200, "the first of them, as rows of priority_queue"),
            PARAMETERS,
            NO_VIEW,
            (503, "a view that is needed is not there, or the position was not reached in time"),
        ],
    },
    Route {
        endpoint: Endpoint::QueueClaim,
        method: "POST",
        path: "/v1/queues/{queue}/claim",
        class: Class::Tenant,
        words: "Gives an agent the most urgent case that fits, leased: `{\"agent\": …, \"skills\": […]}`.",
        parameters: &[QUEUE, KEY],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: &[
            (200, "the case and the end of its lease, durable; `case` is null where none fits"),
            (400, "the body or the key is not understood"),
            (408, "the body did not come in time"),
            (413, "the body is larger than its limit"),
            (415, "not JSON"),
            (422, "the key was used for another request"),
            (429, "queues are full: try again after `Retry-After`; nothing was decided"),
            DESK,
        ],
    },
    Route {
        endpoint: Endpoint::QueueRelease,
        method: "POST",
        path: "/v1/queues/{queue}/release",
        class: Class::Tenant,
        words: "Gives a case back: it waits again, in its old place: `{\"agent\": …, \"case\": …}`.",
        parameters: &[QUEUE, KEY],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: GIVEN_BACK,
    },
    Route {
        endpoint: Endpoint::QueueComplete,
        method: "POST",
        path: "/v1/queues/{queue}/complete",
        class: Class::Tenant,
        words: "Resolves a case: `{\"agent\": …, \"case\": …, \"resolution\": …}`.",
        parameters: &[QUEUE, KEY],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: GIVEN_BACK,
    },
    Route {
        endpoint: Endpoint::Stream,
        method: "GET",
        path: "/v1/stream",
        class: Class::Tenant,
        words: "A snapshot, then what enters, is updated and leaves, epoch by epoch (SSE).",
        parameters: &[
            query("view", "name of a view"),
            query("key", "one row only"),
            header("last-event-id", "go on after this epoch"),
            query("last_event_id", "the same, for clients that cannot set the header"),
        ],
        filters: true,
        body: &[],
        answer: "text/event-stream",
        answers: &[
            (200, "the stream"),
            (400, "a parameter is not understood, or a field cannot be filtered by"),
            NO_VIEW,
            (503, "as many streams are open as may be, or the position was not reached in time"),
        ],
    },
    Route {
        endpoint: Endpoint::Views,
        method: "GET",
        path: "/v1/views",
        class: Class::Tenant,
        words: "The catalogue: views, their keys and fields, how many rows.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the catalogue"), PARAMETERS, AT_LEAST],
    },
    Route {
        endpoint: Endpoint::Notifications,
        method: "GET",
        path: "/v1/notifications",
        class: Class::Tenant,
        words: "What rules decided to say, and what became of it: the view `notifications`, without what is snoozed. With `Accept: text/event-stream` as a stream, as `/v1/stream` has it.",
        parameters: &[
            LIMIT,
            CURSOR,
            query("snoozed", "`true`: only what is snoozed; `all`: that too; left out if absent"),
            header("last-event-id", "of a stream: go on after this epoch"),
        ],
        filters: true,
        body: &[],
        answer: JSON,
        answers: LISTED,
    },
    Route {
        endpoint: Endpoint::Acknowledge,
        method: "POST",
        path: "/v1/notifications/{message}/acknowledge",
        class: Class::Tenant,
        words: "Says that somebody sees to a message; the first to say so stands: `{\"by\": …}`.",
        parameters: &[MESSAGE],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: MARKED,
    },
    Route {
        endpoint: Endpoint::Snooze,
        method: "POST",
        path: "/v1/notifications/{message}/snooze",
        class: Class::Tenant,
        words: "Has a message shown later: `{\"until\": \"2026-03-01T12:00:00Z\", \"by\": …}`, at most 366 days; with null at once.",
        parameters: &[MESSAGE],
        filters: false,
        body: &[JSON],
        answer: JSON,
        answers: MARKED,
    },
    Route {
        endpoint: Endpoint::Ledger,
        method: "GET",
        path: "/v1/ledger",
        class: Class::Process,
        words: "Where every record read has ended, by feed and partition.",
        parameters: OF_CALLER,
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the ledger"), PARAMETERS, AT_LEAST],
    },
    Route {
        endpoint: Endpoint::Rejects,
        method: "GET",
        path: "/v1/rejects",
        class: Class::Tenant,
        words: "Kept rejected records: why, where from, the bytes.",
        parameters: &[
            query("reason", "a code, as `schemas/not-json`"),
            query("feed", "a feed's name"),
            number("limit", "rejects of a page: 1 to 1,000, 100 if absent"),
            query("cursor", "where to go on: `next` of the page before"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "a page"), PARAMETERS, FAILED],
    },
    Route {
        endpoint: Endpoint::Live,
        method: "GET",
        path: "/health/live",
        class: Class::Process,
        words: "Whether the process is alive.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "alive"), (503, "to be restarted; the reasons")],
    },
    Route {
        endpoint: Endpoint::Ready,
        method: "GET",
        path: "/health/ready",
        class: Class::Process,
        words: "Whether it has caught up and moves.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "ready"), (503, "not ready; the reasons")],
    },
    Route {
        endpoint: Endpoint::Metrics,
        method: "GET",
        path: "/metrics",
        class: Class::Process,
        words: "Metrics, in Prometheus' format.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        answers: &[(200, "metrics")],
    },
    Route {
        endpoint: Endpoint::Dataflow,
        method: "GET",
        path: "/v1/debug/dataflow",
        class: Class::Process,
        words: "Operators with records, bytes and time spent.",
        parameters: OF_CALLER,
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "operators"), PARAMETERS, AT_LEAST],
    },
    Route {
        endpoint: Endpoint::OpenApi,
        method: "GET",
        path: "/openapi.json",
        class: Class::Process,
        words: "This document.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the document")],
    },
    Route {
        endpoint: Endpoint::AdminStatus,
        method: "GET",
        path: "/v1/admin/status",
        class: Class::Loopback,
        words: "What the process is and does.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the state"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminShutdown,
        method: "POST",
        path: "/v1/admin/shutdown",
        class: Class::Loopback,
        words: "Ends the process cleanly.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "it ends"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminLog,
        method: "GET",
        path: "/v1/admin/log",
        class: Class::Loopback,
        words: "Size, age and positions of the embedded log.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the figures"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminRecords,
        method: "GET",
        path: "/v1/admin/log/records",
        class: Class::Loopback,
        words: "Records of the embedded log, of any tenant.",
        parameters: &[
            number("from", "the first position; the oldest there is without it"),
            number("limit", "how many"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the records"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminRejects,
        method: "GET",
        path: "/v1/admin/rejects",
        class: Class::Loopback,
        words: "Kept rejects of any tenant, the newest first.",
        parameters: &[
            query("reason", "only those with this code"),
            query("feed", "only those of this feed"),
            number("id", "only this one"),
            number("limit", "how many"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the rejects"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminRejectCounts,
        method: "GET",
        path: "/v1/admin/rejects/counts",
        class: Class::Loopback,
        words: "How many rejects there are and were, by feed and reason: kept, retried, only \
                counted any more, never kept, read again.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "a line a feed and reason"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminRetry,
        method: "POST",
        path: "/v1/admin/rejects/retry",
        class: Class::Loopback,
        words: "Appends kept rejects to the log again.",
        parameters: &[
            query("reason", "only those with this code"),
            query("feed", "only those of this feed"),
            number("id", "only this one"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "how many"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminFeeds,
        method: "GET",
        path: "/v1/admin/feeds",
        class: Class::Loopback,
        words: "Where each partition of each feed stands, and what was decided about it.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "a line a partition"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminResetFeed,
        method: "POST",
        path: "/v1/admin/feeds/reset",
        class: Class::Loopback,
        words: "Decides where a topic begins at the next start.",
        parameters: &[
            query("feed", "a topic's feed, or the name of a `[[kafka]]`"),
            query("to", "earliest, latest, a time, an offset, or PARTITION:OFFSET,…"),
            number("partition", "only this one"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "what it concerns"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminState,
        method: "GET",
        path: "/v1/admin/state",
        class: Class::Loopback,
        words: "What is kept of every entity, in figures.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "figures"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminCheckpoints,
        method: "GET",
        path: "/v1/admin/state/checkpoints",
        class: Class::Loopback,
        words: "The checkpoints there are, the newest first.",
        parameters: &[number("limit", "how many: 1 to 1,000, 100 if absent")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "checkpoints"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminVerify,
        method: "GET",
        path: "/v1/admin/state/verify",
        class: Class::Loopback,
        words: "Reads every block of every log, and says which are damaged.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "a line a log"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminBackup,
        method: "POST",
        path: "/v1/admin/backup",
        class: Class::Loopback,
        words: "Copies everything durable into an empty folder of this machine.",
        parameters: &[query("to", "the folder")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "how much was copied"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminPublish,
        method: "POST",
        path: "/v1/admin/models/publish",
        class: Class::Loopback,
        words: "Has a model whose body is in the data folder speak of texts from now on.",
        parameters: &[query("asked", "its digest, what it was measured against, as JSON")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the model that was published"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminSeal,
        method: "POST",
        path: "/v1/admin/models/seal",
        class: Class::Loopback,
        words: "Seals a model of arrival, of the orders as they are now, and has it speak.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the model that was published"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminErasures,
        method: "GET",
        path: "/v1/admin/erasures",
        class: Class::Loopback,
        words: "What was done about customers who were erased: where, how many, when.",
        parameters: &[query("customer", "only those with this id")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the certificates"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminSinks,
        method: "GET",
        path: "/v1/admin/sinks",
        class: Class::Loopback,
        words: "How each sink stands: its breaker, what waits, what is delivered.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the sinks"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminAside,
        method: "GET",
        path: "/v1/admin/sinks/aside",
        class: Class::Loopback,
        words: "What a sink's receiver will not take, each with its report.",
        parameters: &[query("sink", "its name")],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the items"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminSink,
        method: "POST",
        path: "/v1/admin/sinks/do",
        class: Class::Loopback,
        words: "Has something done about a sink.",
        parameters: &[
            query("sink", "its name"),
            query(
                "do",
                "`resume`: probe now; `retry`: try again what stands aside; `drop`: give that up; `anew`: deliver all there is once more; `verify`: compare what its receiver has with what is served",
            ),
            query("id", "of what stands aside, only this"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "how it stands"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminMessages,
        method: "POST",
        path: "/v1/admin/notifications/do",
        class: Class::Loopback,
        words: "Has something done about messages that rules planned: of those that are named, all.",
        parameters: &[
            query(
                "do",
                "`retry`: what was refused, or cancelled, is sent after all, under its id; `cancel`: what waits is not sent",
            ),
            query("message", "only this one"),
            query("rule", "only those of this rule"),
            query("channel", "only those to this channel"),
            query("owner", "only those of this tenant"),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "how many, and which"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminReload,
        method: "POST",
        path: "/v1/admin/rules/reload",
        class: Class::Loopback,
        words: "Takes rules and channels as they stand in the settings now: all of them, or, where something is wrong, none.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[
            (200, "from which epoch on they decide; or `problems`, and all is as it was"),
            PARAMETERS,
            LOOPBACK,
            FAILED,
        ],
    },
    Route {
        endpoint: Endpoint::AdminChannels,
        method: "GET",
        path: "/v1/admin/channels",
        class: Class::Loopback,
        words: "How each channel stands: its breaker, what waits, what signs.",
        parameters: &[],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "the channels"), PARAMETERS, LOOPBACK, FAILED],
    },
    Route {
        endpoint: Endpoint::AdminChannel,
        method: "POST",
        path: "/v1/admin/channels/do",
        class: Class::Loopback,
        words: "Has something done about a channel.",
        parameters: &[
            query("channel", "its name"),
            query(
                "do",
                "`again`: what failed and waits for another attempt; `resume`: try its receiver now; `reload`: read again what signs",
            ),
        ],
        filters: false,
        body: &[],
        answer: JSON,
        answers: &[(200, "how it stands"), PARAMETERS, LOOPBACK, FAILED],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let check = |path: &str, expected: Option<(Endpoint, &str, &str)>| {
            let found = ROUTES.iter().find_map(|it| Some((it.endpoint, it.captures(path)?)));
            let found = found.as_ref().map(|(e, c)| (*e, c.view.as_str(), c.key.as_str()));
            assert_eq!(found, expected, "{path}");
        };
        check("/v1/views", Some((Endpoint::Views, "", "")));
        check("/v1/views/orders", Some((Endpoint::List, "orders", "")));
        check("/v1/views/orders/O1", Some((Endpoint::Row, "orders", "O1")));
        check("/v1/views/volume/a/b%2Fc", Some((Endpoint::Row, "volume", "a/b%2Fc")));
        check("/v1/views/", None);
        check("/v1/views/orders/", None);
        check("/v1/viewsx", None);
        check("/metrics/", None);
        check("/v1/queues/a%2Fb", Some((Endpoint::QueueOrder, "a%2Fb", "")));
        check("/v1/queues/q/claim", Some((Endpoint::QueueClaim, "q", "")));
        check("/v1/queues/claim", Some((Endpoint::QueueOrder, "claim", "")));
        check("/v1/queues//claim", None);
        check("/v1/queues/q/other", None);
        check("/", None);
    }
}
