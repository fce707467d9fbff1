//! From a mapping's text to where one field comes from.

mod written; // how its values are written: texts, money, times

use crate::events::Status;
use crate::limits::{AMOUNT, is_country, is_identifier, is_text};
use crate::names::Currency;

use super::lookup::Lookup;
use super::notes::{Notes, Part, Place};
use super::program::{Constant, Field, Pick, Piece, Ref, Source, Table, Written};
use super::shape::{Kind, Spec, Within};
use super::slots::is_pointer;

/// Most different pointers into one record, or into one element: far above what a person writes.
const MAX_POINTERS: usize = 1_000;

/// Keys of a source and what each may go with is in `docs/mappings.md`.
const KEYS: [&str; 16] = [
    "from",
    "constant",
    "template",
    "sum",
    "values",
    "otherwise",
    "default",
    "required",
    "null",
    "empty",
    "written_as",
    "unit",
    "decimals",
    "format",
    "zone",
    "day",
];

/// What is being compiled: the notes, and the pointers wanted so far at each level.
pub(super) struct Work<'t> {
    pub(super) notes: Notes<'t>,
    levels: Vec<Vec<String>>,
}

impl<'t> Work<'t> {
    pub(super) fn new(text: &'t str) -> Work<'t> {
        Work { notes: Notes::new(text), levels: vec![Vec::new()] }
    }

    /// The level of the innermost `each`; 0 is the record.
    pub(super) fn level(&self) -> usize {
        self.levels.len() - 1
    }

    /// Into the elements of an array.
    pub(super) fn enter(&mut self) {
        self.levels.push(Vec::new());
    }

    /// Out again, with the pointers wanted of each element.
    pub(super) fn leave(&mut self) -> Vec<String> {
        self.levels.pop().unwrap_or_default()
    }

    /// The slot of a pointer; `^` before it leads one level out.
    pub(super) fn pointer(&mut self, part: &Part<'t>) -> Option<Ref> {
        let text = self.notes.text(part)?;
        self.slot_of(text, part)
    }

    /// The slot of the pointer `text`, which stands in `part`.
    pub(super) fn slot_of(&mut self, text: &str, part: &Part<'t>) -> Option<Ref> {
        let pointer = text.trim_start_matches('^');
        let out = text.len() - pointer.len();
        let levels = self.level();
        let mut refuse = |why: String| {
            self.notes.note(&part.at, &part.span, why);
            None
        };
        let Some(level) = levels.checked_sub(out) else {
            return refuse(format!("{text:?} leads out of the record: {levels} `each` around it"));
        };
        if !is_pointer(pointer) {
            let names = pointer.trim_start_matches(['$', '.', '/']).replace('~', "~0");
            let meant = format!("{}/{}", "^".repeat(out), names.replace('.', "/"));
            return refuse(format!(
                "expected a JSON pointer, found {text:?}: perhaps {meant:?} was meant"
            ));
        }
        if pointer.is_empty() && level == 0 {
            return refuse("expected a pointer to a field, found the whole record".into());
        }
        let pointers = &mut self.levels[level];
        let slot = pointers.iter().position(|it| it == pointer).unwrap_or(pointers.len());
        if slot == MAX_POINTERS {
            return refuse(format!("more than {MAX_POINTERS} different pointers"));
        }
        if slot == pointers.len() {
            pointers.push(pointer.to_string());
        }
        Some(Ref { level: level as u8, slot: slot as u16 })
    }

    fn pointers(&mut self, part: &Part<'t>) -> Option<Vec<Ref>> {
        let parts = self.notes.list(part);
        if parts.is_empty() {
            self.notes.note(&part.at, &part.span, "expected a pointer, found an empty list");
            return None;
        }
        parts.iter().map(|it| self.pointer(it)).collect()
    }

    /// Where a field comes from, or a note of why that cannot be.
    pub(super) fn field(&mut self, spec: &'static Spec, part: &Part<'t>) -> Option<Field> {
        if part.value.is_str() {
            let slot = self.pointer(part);
            let unstated = match spec.kind {
                Kind::Time => {
                    "state how the time is written: { from = …, format = \"rfc3339\" | \"unix_s\" | \"unix_ms\" | \"unix_us\" | \"unix_ns\" | a strptime format }"
                }
                Kind::Amount => {
                    "state how the money is written: { from = …, unit = \"minor\" } or { from = …, unit = \"major\", decimals = 2 }"
                }
                _ => return slot.map(|it| plain(spec, Source::Slot(it))),
            };
            self.notes.note(&part.at, &part.span, unstated);
            return None;
        }
        if part.value.as_table().is_none() {
            let why = format!(
                "expected a pointer in quotes or a table with `from`, `constant`, `template` or `sum`, found {}",
                part.value.type_str()
            );
            self.notes.note(&part.at, &part.span, why);
            return None;
        }
        let place = self.notes.table(part)?;
        self.notes.only(&place, &KEYS);
        let source = self.source(spec, &place);
        let mut field = plain(spec, Source::Constant(Constant::Integer(0)));
        self.options(spec, &place, &mut field);
        field.source = source?;
        Some(field)
    }

    fn source(&mut self, spec: &'static Spec, place: &Place<'t>) -> Option<Source> {
        let ways = ["from", "constant", "template", "sum"];
        let stated: Vec<&str> = ways.into_iter().filter(|it| place.get(it).is_some()).collect();
        let [way] = stated[..] else {
            let found = if stated.is_empty() { "none".into() } else { stated.join(" and ") };
            let why = format!(
                "expected exactly one of `from`, `constant`, `template`, `sum`, found {found}"
            );
            self.notes.note(&place.at, &place.span, why);
            return None;
        };
        let part = place.get(way)?;
        for (option, of) in [
            ("values", "from"),
            ("otherwise", "values"),
            ("default", "from"),
            ("empty", "from"),
            ("null", "from"),
            ("written_as", "from"),
            ("required", "from"),
        ] {
            let alone = place.get(of).is_none() && !(option == "required" && way == "sum");
            if let (Some(option_part), true) = (place.get(option), alone) {
                let why = format!("`{option}` goes with `{of}` only");
                self.notes.note(&option_part.at, &option_part.span, why);
            }
        }
        match way {
            "constant" => self.constant(spec.kind, &part).map(Source::Constant),
            "template" => self.template(spec.kind, &part),
            "sum" if spec.kind == Kind::Amount => {
                self.pointers(&part).map(|it| Source::Sum(it.into()))
            }
            "sum" => {
                self.notes.note(
                    &part.at,
                    &part.span,
                    format!("only money can be added, and `{}` is none", spec.name),
                );
                None
            }
            _ => self.pick(spec.kind, place, &part),
        }
    }

    fn pick(&mut self, kind: Kind, place: &Place<'t>, from: &Part<'t>) -> Option<Source> {
        let first = self.pointers(from);
        let empty = place.get("empty").and_then(|it| self.notes.word(&it, &["absent", "text"]));
        let default = place.get("default").map(|it| self.constant(kind, &it));
        let table = place.get("values").map(|it| self.value_table(kind, place, &it));
        let first = first?;
        let plain = empty.is_none() && default.is_none() && table.is_none();
        if let ([only], true) = (&first[..], plain) {
            return Some(Source::Slot(*only));
        }
        Some(Source::Pick(Box::new(Pick {
            first,
            empty_is_absent: empty == Some("absent"),
            table: table.map_or(Some(None), |it| it.map(Some))?,
            default: default.map_or(Some(None), |it| it.map(Some))?,
        })))
    }

    fn value_table(&mut self, kind: Kind, place: &Place<'t>, part: &Part<'t>) -> Option<Table> {
        if matches!(kind, Kind::Time | Kind::Amount) {
            self.notes.note(&part.at, &part.span, "times and money are read, not looked up");
            return None;
        }
        let entries = self.notes.table(part)?;
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, value) in entries.parts() {
            if let Some(value) = self.constant(kind, &value) {
                names.push(&**name.get_ref());
                values.push(value);
            }
        }
        let otherwise = match place.get("otherwise") {
            Some(part) => Some(self.constant(kind, &part)?),
            None => None,
        };
        Some(Table { names: Lookup::new(names), values, otherwise })
    }

    /// A value stated in the mapping, which must be one that the field can hold.
    fn constant(&mut self, kind: Kind, part: &Part<'t>) -> Option<Constant> {
        let why = match kind {
            Kind::Identifier | Kind::Clearable(Within::Identifier) => {
                let text = self.notes.text(part)?;
                if is_identifier(text) {
                    return Some(Constant::Text(text.into()));
                }
                format!(
                    "expected an identifier of 1 to 128 bytes without control characters, found {text:?}"
                )
            }
            Kind::Text | Kind::Clearable(Within::Text) => {
                let text = self.notes.text(part)?;
                if is_text(text) {
                    return Some(Constant::Text(text.into()));
                }
                "expected a text of at most 32 KiB".into()
            }
            Kind::Country | Kind::Clearable(Within::Country) => {
                let text = self.notes.text(part)?;
                if is_country(text) {
                    return Some(Constant::Text(text.into()));
                }
                format!("expected a country of two upper-case letters, found {text:?}")
            }
            Kind::Currency => {
                let text = self.notes.text(part)?;
                if let Some(currency) = Currency::parse(text) {
                    return Some(Constant::Currency(currency));
                }
                format!("expected a currency of ISO 4217, such as \"EUR\", found {text:?}")
            }
            Kind::Status => {
                let text = self.notes.text(part)?;
                if let Some(status) = Status::parse(text) {
                    return Some(Constant::Status(status));
                }
                let names = Status::ALL.map(Status::as_str);
                self.notes.unnamed(&part.at, &part.span, "status", text, &names);
                return None;
            }
            Kind::Integer(range) => {
                let integer = self.notes.integer(part)?;
                if range.contains(&integer) {
                    return Some(Constant::Integer(integer));
                }
                format!(
                    "expected an integer from {} to {}, found {integer}",
                    range.start(),
                    range.end()
                )
            }
            Kind::Amount => {
                let integer = self.notes.integer(part)?;
                if AMOUNT.contains(&integer) {
                    return Some(Constant::Integer(integer));
                }
                format!("expected minor units from 0 to {}, found {integer}", AMOUNT.end())
            }
            Kind::Time => "a time is read from the record, it cannot be stated here".into(),
            Kind::Lines | Kind::Attributes | Kind::Texts => "expected a list or a table".into(),
            Kind::Object => "an object is taken from the record, it cannot be stated here".into(),
        };
        self.notes.note(&part.at, &part.span, why);
        None
    }

    fn template(&mut self, kind: Kind, part: &Part<'t>) -> Option<Source> {
        if !matches!(kind, Kind::Identifier | Kind::Text | Kind::Country | Kind::Clearable(_)) {
            self.notes.note(
                &part.at,
                &part.span,
                "a template makes text, which this field does not hold",
            );
            return None;
        }
        let mut rest = self.notes.text(part)?;
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let bracket = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(bracket) {
                literal.push_str(bracket);
                rest = after;
                continue;
            }
            let Some((inside, after)) = rest.split_once('}').filter(|_| bracket == "{") else {
                let why = "a bracket is open: fields are written {/pointer}, brackets themselves {{ and }}";
                self.notes.note(&part.at, &part.span, why);
                return None;
            };
            rest = after;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(self.piece(inside, part)?);
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Some(Source::Template(pieces.into()))
    }

    fn piece(&mut self, inside: &str, part: &Part<'t>) -> Option<Piece> {
        if inside == "#" {
            if self.level() > 0 {
                return Some(Piece::Place);
            }
            let why = "{#} is the place of an element: there is no `each` here";
            self.notes.note(&part.at, &part.span, why);
            return None;
        }
        self.slot_of(inside, part).map(Piece::Slot)
    }
}

/// A field without options.
pub(super) fn plain(spec: &'static Spec, source: Source) -> Field {
    Field {
        name: spec.name,
        source,
        required: spec.required,
        written: written_by_default(spec.kind),
        null_withdraws: false,
        decimals: 0,
        time: None,
    }
}

fn written_by_default(kind: Kind) -> Written {
    match kind {
        Kind::Integer(_) => Written::Number,
        Kind::Amount | Kind::Time => Written::Either,
        _ => Written::Text,
    }
}
