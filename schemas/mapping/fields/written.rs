//! How the values of a field are written: as texts or numbers, money, times. Stated, never guessed.

use super::Work;
use crate::mapping::notes::{Part, Place};
use crate::mapping::program::{Field, Written};
use crate::mapping::shape::{Kind, Spec};
use crate::mapping::times::{self, TimeFormat};

/// Most decimals of money: currencies have up to four, 10^13 leaves room for no more than six.
const MAX_DECIMALS: i64 = 6;

impl<'t> Work<'t> {
    pub(super) fn options(&mut self, spec: &'static Spec, place: &Place<'t>, field: &mut Field) {
        let kind = spec.kind;
        if let Some(part) = place.get("required") {
            field.required |= self.notes.truth(&part) == Some(true);
        }
        if let Some(part) = place.get("null") {
            let word = self.notes.word(&part, &["absent", "withdraws"]);
            field.null_withdraws = word == Some("withdraws");
            if field.null_withdraws && !matches!(kind, Kind::Clearable(_)) {
                let why = "only attributes of a customer can be withdrawn";
                self.notes.note(&part.at, &part.span, why);
            }
        }
        if let Some(part) = place.get("written_as") {
            if matches!(kind, Kind::Time | Kind::Status | Kind::Currency | Kind::Object) {
                let why = format!("`{}` has one way to be written", spec.name);
                self.notes.note(&part.at, &part.span, why);
            }
            match self.notes.word(&part, &["text", "number", "either"]) {
                Some("text") => field.written = Written::Text,
                Some("number") => field.written = Written::Number,
                Some(_) => field.written = Written::Either,
                None => {}
            }
        }
        self.money(spec, place, field);
        self.time(spec, place, field);
    }

    fn money(&mut self, spec: &'static Spec, place: &Place<'t>, field: &mut Field) {
        let (unit, decimals) = (place.get("unit"), place.get("decimals"));
        if spec.kind != Kind::Amount {
            for part in [unit, decimals].into_iter().flatten() {
                self.notes.note(&part.at, &part.span, format!("`{}` is no money", spec.name));
            }
            return;
        }
        if place.get("constant").is_some() {
            for part in [unit, decimals].into_iter().flatten() {
                self.notes.note(&part.at, &part.span, "a constant is in minor units");
            }
            return;
        }
        let Some(unit) = unit else {
            let why = "state how the money is written: unit = \"minor\", or unit = \"major\" with decimals";
            self.notes.note(&place.at, &place.span, why);
            return;
        };
        match (self.notes.word(&unit, &["minor", "major"]), decimals) {
            (Some("major"), Some(part)) => match self.notes.integer(&part) {
                Some(n @ 0..=MAX_DECIMALS) => field.decimals = n as u8,
                Some(n) => {
                    let why = format!("expected 0 to {MAX_DECIMALS} decimals, found {n}");
                    self.notes.note(&part.at, &part.span, why);
                }
                None => {}
            },
            (Some("major"), None) => {
                let why = "unit = \"major\" needs `decimals`: how many digits after the point are minor units";
                self.notes.note(&unit.at, &unit.span, why);
            }
            (Some(_), Some(part)) => {
                let why = "`decimals` goes with unit = \"major\" only";
                self.notes.note(&part.at, &part.span, why);
            }
            _ => {}
        }
    }

    fn time(&mut self, spec: &'static Spec, place: &Place<'t>, field: &mut Field) {
        let (format, zone, day) = (place.get("format"), place.get("zone"), place.get("day"));
        if spec.kind != Kind::Time {
            for part in [format, zone, day].into_iter().flatten() {
                self.notes.note(&part.at, &part.span, format!("`{}` is no time", spec.name));
            }
            return;
        }
        let Some(format) = format else {
            let why = "state how the time is written: `format`";
            self.notes.note(&place.at, &place.span, why);
            return;
        };
        let Some(text) = self.notes.text(&format) else { return };
        let fixed = match text {
            "rfc3339" => Some(TimeFormat::Rfc3339),
            "unix_s" => Some(TimeFormat::Unix(6)),
            "unix_ms" => Some(TimeFormat::Unix(3)),
            "unix_us" => Some(TimeFormat::Unix(0)),
            "unix_ns" => Some(TimeFormat::Unix(-3)),
            _ => None,
        };
        if let Some(fixed) = fixed {
            for part in [zone, day].into_iter().flatten() {
                self.notes.note(&part.at, &part.span, format!("{text:?} needs none"));
            }
            field.time = Some(fixed);
            return;
        }
        if !text.contains('%') {
            let names = ["rfc3339", "unix_s", "unix_ms", "unix_us", "unix_ns"];
            self.notes.unnamed(&format.at, &format.span, "time format", text, &names);
            return;
        }
        field.time = self.text_format(text, &format, zone, day);
    }

    fn text_format(
        &mut self,
        text: &str,
        format: &Part<'t>,
        zone: Option<Part<'t>>,
        day: Option<Part<'t>>,
    ) -> Option<TimeFormat> {
        let abilities = match times::abilities(text) {
            Ok(abilities) => abilities,
            Err(why) => {
                let why = format!("{text:?} cannot be read as a time: {why}");
                self.notes.note(&format.at, &format.span, why);
                return None;
            }
        };
        let found_zone = match (zone, abilities.offset) {
            (Some(part), true) => {
                let why = "the format has an offset of its own, so there is no zone to state";
                self.notes.note(&part.at, &part.span, why);
                None
            }
            (None, false) => {
                let why = "the format has no offset: state `zone`, such as \"Europe/Berlin\", \"UTC\" or \"-03:00\"";
                self.notes.note(&format.at, &format.span, why);
                None
            }
            (Some(part), false) => {
                let name = self.notes.text(&part)?;
                let zone = times::zone(name);
                if zone.is_none() {
                    let meant = times::nearest_zone(name);
                    let meant =
                        meant.map_or(String::new(), |it| format!(": perhaps {it:?} was meant"));
                    let why = format!("there is no time zone {name:?}{meant}");
                    self.notes.note(&part.at, &part.span, why);
                }
                zone
            }
            (None, true) => None,
        };
        let end = match (day, abilities.time_of_day) {
            (Some(part), true) => {
                self.notes.note(&part.at, &part.span, "the format has a time of day");
                false
            }
            (None, false) => {
                let why = "the format has no time of day: state day = \"start\" or day = \"end\"";
                self.notes.note(&format.at, &format.span, why);
                false
            }
            (Some(part), false) => self.notes.word(&part, &["start", "end"]) == Some("end"),
            (None, true) => false,
        };
        Some(TimeFormat::text(text, found_zone, end))
    }
}
