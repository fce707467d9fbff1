//! What one envelope says, part by part, or what is wrong with it.

use std::borrow::Cow;

use super::{
    AFTER, CHANGED, COLLECTION, CONNECTOR, Connector, DB, FILE, LSN, NAME, ORD, POS, ROW, SCHEMA,
    SENT, SNAPSHOT, TABLE,
};
use crate::events::Text;
use crate::limits::is_identifier;
use crate::mapping::slots::Slot;
use crate::mapping::values::Fault;
use crate::problem::Problem;
use crate::records::MAX_FIELDS_BYTES;
use crate::time::MAX_TIME;

/// The slots of one record.
pub(super) struct Seen<'f, 'a> {
    pub(super) slots: &'f [Slot<'a>],
    pub(super) pointers: &'f [String],
    /// Where the slots of the envelope begin.
    pub(super) first: usize,
}

impl<'a> Seen<'_, 'a> {
    pub(super) fn slot(&self, at: usize) -> &Slot<'a> {
        &self.slots[self.first + at]
    }

    #[cold]
    pub(super) fn fault(
        &self,
        code: &'static str,
        at: usize,
        expected: impl Into<String>,
    ) -> Fault {
        let (pointer, found) = (self.pointers[self.first + at].clone(), self.slot(at).told());
        Box::new(Problem { code, pointer, expected: expected.into(), found })
    }

    pub(super) fn connector(&self) -> Result<Connector, Fault> {
        match self.slot(CONNECTOR).text().as_deref() {
            Some("postgresql") => Ok(Connector::Postgres),
            Some("mysql" | "mariadb") => Ok(Connector::MySql),
            Some("mongodb") => Ok(Connector::MongoDb),
            _ => {
                let expected = "a connector whose positions have an order that we know: \
                                postgresql, mysql, mariadb or mongodb";
                Err(self.fault("schemas/unmapped-type", CONNECTOR, expected))
            }
        }
    }

    /// Where the table's name stands, and the name with its schema or database.
    pub(super) fn table(&self, connector: Connector) -> Result<(usize, String), Fault> {
        let at = if connector == Connector::MongoDb { COLLECTION } else { TABLE };
        let Some(table) = self.slot(at).text().filter(|it| !it.is_empty()) else {
            return Err(self.fault("schemas/wrong-shape", at, "the name of a table"));
        };
        let within = if connector == Connector::Postgres { SCHEMA } else { DB };
        Ok(match self.slot(within).text().filter(|it| !it.is_empty()) {
            Some(within) => (at, format!("{within}.{table}")),
            None => (at, table.into_owned()),
        })
    }

    /// Who sends it, where the mapping states no source.
    pub(super) fn source(&self) -> Result<String, Fault> {
        let text = |at| self.slot(at).text().unwrap_or_default();
        let name = text(NAME);
        if name.is_empty() {
            // Positions of two databases may be equal: without a name one would pass for the other.
            let expected =
                "the name of the server (topic.prefix), or a mapping that states `source`";
            return Err(self.fault("schemas/wrong-shape", NAME, expected));
        }
        let source = format!("/debezium/{}/{name}", text(CONNECTOR));
        if is_identifier(&source) {
            return Ok(source);
        }
        let expected = "a name that makes an identifier of at most 128 bytes (or state `source`)";
        Err(self.fault("schemas/identifier", NAME, expected))
    }

    /// When the database made the change; where it does not say, when Debezium saw it.
    pub(super) fn time(&self) -> Result<i64, Fault> {
        let ms = |at: usize| match self.slot(at) {
            Slot::Number(digits) => digits.parse::<i64>().ok().filter(|it| *it > 0),
            _ => None,
        };
        let time = ms(CHANGED).or_else(|| ms(SENT)).and_then(|it| it.checked_mul(1_000));
        time.filter(|it| *it <= MAX_TIME).ok_or_else(|| {
            let at = if self.slot(CHANGED).is_present() { CHANGED } else { SENT };
            self.fault("schemas/time", at, "milliseconds since 1970")
        })
    }

    /// A whole number, by its digits.
    fn digits(&self, at: usize) -> Option<Cow<'a, str>> {
        let text = self.slot(at).scalar()?;
        (!text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())).then_some(text)
    }

    /// The position in the source's log, and which of snapshot and stream says it.
    pub(super) fn version(&self, connector: Connector, is_read: bool) -> Result<String, Fault> {
        let marked = self.slot(SNAPSHOT).scalar().is_some_and(|it| it != "false" && !it.is_empty());
        let is_snapshot = is_read || marked;
        let zero = || Cow::Borrowed("0");
        let (at, position) = match connector {
            Connector::Postgres => (LSN, self.digits(LSN).map(String::from)),
            Connector::MySql => {
                // binlog.000003: the name may change, the number goes up.
                let file = self.slot(FILE).text();
                let number = file.as_deref().and_then(|it| it.rsplit('.').next());
                let is_number =
                    |it: &&str| !it.is_empty() && it.bytes().all(|digit| digit.is_ascii_digit());
                let number = number.filter(is_number);
                let position = number.and_then(|file| {
                    let row = self.digits(ROW).unwrap_or_else(zero);
                    Some(format!("{file}/{}/{row}", self.digits(POS)?))
                });
                (if number.is_some() { POS } else { FILE }, position)
            }
            Connector::MongoDb => {
                let ord = self.digits(ORD).unwrap_or_else(zero);
                (CHANGED, self.digits(CHANGED).map(|it| format!("{it}/{ord}")))
            }
        };
        match position {
            Some(it) => Ok(format!("{it}/{}", u8::from(!is_snapshot))),
            None if is_snapshot => Ok("0/0".into()),
            None => Err(self.fault("schemas/wrong-shape", at, "the position in the source's log")),
        }
    }

    /// The columns of a row as text; what is wrong is told as what its operation needs.
    pub(super) fn row(&self, at: usize, connector: Connector) -> Result<Text<'a>, Fault> {
        let Some(text) = self.row_text(at, connector) else {
            let expected = match (connector, at) {
                (Connector::MongoDb, AFTER) => {
                    "the whole document (capture.mode = change_streams_update_full)"
                }
                (_, AFTER) => "an object: the row as it is now",
                _ => "an object with the key of the row",
            };
            return Err(self.fault("schemas/wrong-shape", at, expected));
        };
        if text.len() > MAX_FIELDS_BYTES {
            let expected = format!("a row of at most {MAX_FIELDS_BYTES} bytes");
            return Err(self.fault("schemas/too-large", at, expected));
        }
        Ok(text)
    }

    /// The same, if there is a row at all.
    pub(super) fn row_text(&self, at: usize, connector: Connector) -> Option<Text<'a>> {
        match self.slot(at) {
            Slot::Object(text) => Some(Cow::Borrowed(text.trim_start())),
            // MongoDB's documents come as text.
            slot @ (Slot::Text(_) | Slot::Escaped(_)) if connector == Connector::MongoDb => {
                slot.text()
            }
            _ => None,
        }
    }
}
