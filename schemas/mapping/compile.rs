//! From a mapping's text to a program: the whole file, its types and its rules.

use toml::de::DeTable;

use crate::events::{EventType, MAX_ATTRIBUTES, MAX_LINES, MAX_SKILLS};
use crate::names::DEFAULT_TENANT;

use super::fields::{Work, plain};
use super::lookup::Lookup;
use super::notes::{Notes, Part, Place};
use super::program::{
    Becomes, Constant, Each, Field, Line, Lines, Others, Piece, Program, Ref, Rule, Source, Texts,
    When,
};
use super::shape::{self, Kind, Spec, Within};
use super::slots::Tree;
use super::{MappingProblem, Reads};

/// Largest mapping: a person writes some kilobytes, and every record pays for what it names.
const MAX_MAPPING_BYTES: usize = 1024 * 1024;

const FILE_KEYS: [&str; 8] =
    ["about", "shape", "record", "discriminator", "other_types", "event", "types", "always"];
const RULE_KEYS: [&str; 9] =
    ["becomes", "skip", "when", "each", "data", "tenant", "source", "id", "time"];
const ENVELOPE_KEYS: [&str; 4] = ["tenant", "source", "id", "time"];
const WHEN_KEYS: [&str; 4] = ["present", "absent", "equal", "differ"];

/// The envelope that every rule has unless it states its own.
/// Of what is no TOML so much is told: behind it comes what follows from it.
const SYNTAX_MAX: usize = 3;

type Envelope<'t> = [Option<Part<'t>>; 4];

static ATTRIBUTE: Spec =
    Spec { name: "attributes", kind: Kind::Clearable(Within::Text), required: false };
static SKILL: Spec = Spec { name: "skills", kind: Kind::Identifier, required: false };

/// What it reads, and whether that is a whole record of Kafka.
pub(super) fn compile(text: &str) -> Result<(Reads, bool), Vec<MappingProblem>> {
    let mut notes = Notes::new(text);
    if text.len() > MAX_MAPPING_BYTES {
        notes.note("", &(0..0), format!("expected at most {MAX_MAPPING_BYTES} bytes"));
        return Err(notes.finish());
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let is_json = text.trim_start().starts_with('{');
        let more = errors.len().saturating_sub(SYNTAX_MAX);
        for (n, error) in errors.iter().take(SYNTAX_MAX).enumerate() {
            let more = match n + 1 == SYNTAX_MAX && more > 0 {
                true => format!("; and {more} more"),
                false => String::new(),
            };
            let hint = match n == 0 && is_json {
                true => " (it looks like JSON: are these the records?)",
                false => "",
            };
            let why = format!("not TOML: {}{hint}{more}", error.message());
            notes.note("", &error.span().unwrap_or(0..0), why);
        }
        return Err(notes.finish());
    }
    let file = Place { table: root.get_ref(), at: String::new(), span: 0..0 };
    let mut work = Work::new(text);
    let record = file.get("record");
    let record = record.and_then(|it| work.notes.word(&it, &["value", "whole"]));
    let reads = match file.get("shape") {
        None => work.file(&file).map(Reads::Rules),
        Some(part) => work.notes.word(&part, &["debezium"]).map(|_| {
            let shape = super::debezium::compile(&mut work, &file);
            Reads::Debezium(Box::new(shape))
        }),
    };
    // A change's key stands beside its row: a change stream is read whole unless the text says no.
    let whole = record.map_or(matches!(reads, Some(Reads::Debezium(_))), |it| it == "whole");
    match reads {
        Some(reads) if work.notes.is_empty() => Ok((reads, whole)),
        _ => Err(work.notes.finish()),
    }
}

impl<'t> Work<'t> {
    fn file(&mut self, file: &Place<'t>) -> Option<Program> {
        self.notes.only(file, &FILE_KEYS);
        if let Some(about) = file.get("about") {
            self.notes.text(&about);
        }
        let envelope = match file.get("event") {
            Some(part) => self.notes.table(&part).map(|place| {
                self.notes.only(&place, &ENVELOPE_KEYS);
                ENVELOPE_KEYS.map(|it| place.get(it))
            }),
            None => None,
        };
        let envelope = envelope.unwrap_or_default();
        let discriminator = file.get("discriminator");
        let (types, always) = (file.get("types"), file.get("always"));
        let others = match file.get("other_types") {
            Some(part) => self.notes.word(&part, &["reject", "skip"]),
            None => Some("reject"),
        };
        let others = if others == Some("skip") { Others::Skip } else { Others::Reject };
        let mut names = Vec::new();
        let mut rules = Vec::new();
        let mut refs = Vec::new();
        match (discriminator, types, always) {
            (Some(discriminator), Some(types), None) => {
                for part in self.notes.list(&discriminator) {
                    refs.extend(self.pointer(&part));
                }
                for (name, part) in self.notes.table(&types)?.parts() {
                    names.push(&**name.get_ref());
                    rules.push(self.rules(&part, &envelope));
                }
            }
            (None, None, Some(always)) => rules.push(self.rules(&always, &envelope)),
            _ => {
                let why = "expected `discriminator` with `types`, or `always` alone";
                self.notes.note("", &(0..0), why);
            }
        }
        let types = Lookup::new(names);
        let record = Tree::new(self.leave());
        Some(Program { record, discriminator: refs.into(), types, rules, others })
    }

    /// One rule, or several tried in the order of the text.
    fn rules(&mut self, part: &Part<'t>, envelope: &Envelope<'t>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut always = false;
        for part in self.notes.list(part) {
            if always {
                let why = "never reached: the rule before it has no `when`";
                self.notes.note(&part.at, &part.span, why);
            }
            if let Some(place) = self.notes.table(&part) {
                always = place.get("when").is_none();
                rules.extend(self.rule(&place, envelope));
            }
        }
        rules
    }

    fn rule(&mut self, rule: &Place<'t>, envelope: &Envelope<'t>) -> Option<Rule> {
        self.notes.only(rule, &RULE_KEYS);
        let when = rule.get("when").and_then(|it| self.when(&it));
        let skip = rule.get("skip").and_then(|it| self.notes.truth(&it));
        match (skip, rule.get("becomes")) {
            (Some(true), None) => Some(Rule { when, becomes: None }),
            (Some(true), Some(part)) => {
                let why = "a record that is skipped does not become an event";
                self.notes.note(&part.at, &part.span, why);
                None
            }
            (_, None) => {
                let why = "state what it becomes (`becomes = \"order.placed\"`), or skip = true";
                self.notes.note(&rule.at, &rule.span, why);
                None
            }
            (_, Some(part)) => {
                let name = self.notes.text(&part)?;
                let Some(event) = EventType::parse(name) else {
                    let names = EventType::ALL.map(EventType::as_str);
                    self.notes.unnamed(&part.at, &part.span, "event type", name, &names);
                    return None;
                };
                let becomes = self.becomes(rule, event, envelope)?;
                Some(Rule { when, becomes: Some(becomes) })
            }
        }
    }

    fn when(&mut self, part: &Part<'t>) -> Option<When> {
        let place = self.notes.table(part)?;
        self.notes.only(&place, &WHEN_KEYS);
        let mut when = When::default();
        for (key, into) in [("present", &mut when.present), ("absent", &mut when.absent)] {
            if let Some(part) = place.get(key) {
                for part in self.notes.list(&part) {
                    into.extend(self.pointer(&part));
                }
            }
        }
        if let Some(equal) = place.get("equal").and_then(|it| self.notes.table(&it)) {
            for (key, values) in equal.parts() {
                let at = self.slot_of(key.get_ref(), &values);
                let mut texts = Vec::new();
                for part in self.notes.list(&values) {
                    texts.extend(self.scalar(&part));
                }
                when.equal.extend(at.map(|at| (at, texts)));
            }
        }
        if let Some(differ) = place.get("differ") {
            match &self.notes.list(&differ)[..] {
                [a, b] => {
                    if let (Some(a), Some(b)) = (self.pointer(a), self.pointer(b)) {
                        when.differ.push((a, b));
                    }
                }
                _ => self.notes.note(&differ.at, &differ.span, "expected two pointers"),
            }
        }
        Some(when)
    }

    /// A text, integer or truth as the text by which records are compared.
    fn scalar(&mut self, part: &Part<'t>) -> Option<String> {
        if let Some(truth) = part.value.as_bool() {
            return Some(truth.to_string());
        }
        if part.value.is_integer() {
            return self.notes.integer(part).map(|it| it.to_string());
        }
        self.notes.text(part).map(String::from)
    }

    fn becomes(
        &mut self,
        rule: &Place<'t>,
        event: EventType,
        envelope: &Envelope<'t>,
    ) -> Option<Becomes> {
        // Before entering `each`: the common envelope speaks of the record.
        let common = [0, 1, 2, 3].map(|n| {
            let own = rule.get(ENVELOPE_KEYS[n]).is_some();
            let part = envelope[n].as_ref().filter(|_| !own)?;
            self.field(&shape::ENVELOPE[n], part)
        });
        let each = rule.get("each");
        let array = each.as_ref().map(|it| self.pointer(it));
        if each.is_some() {
            self.enter();
        }
        let [tenant, source, id, time] = [0, 1, 2, 3].map(|n| {
            let spec = &shape::ENVELOPE[n];
            rule.get(spec.name).map(|it| self.field(spec, &it)).unwrap_or(None)
        });
        let [common_tenant, common_source, common_id, common_time] = common;
        if let (Some(part), None | Some(false)) = (&each, id.as_ref().map(is_of_element)) {
            let own = rule.get("id").map_or((&part.at, &part.span), |_| (&part.at, &part.span));
            let why = "every element needs an `id` of its own in this rule: one that reads from the element, or {#}";
            self.notes.note(own.0, own.1, why);
        }
        for (n, found) in [
            (1, source.is_some() || common_source.is_some()),
            (2, id.is_some() || common_id.is_some()),
            (3, time.is_some() || common_time.is_some()),
        ] {
            let name = ENVELOPE_KEYS[n];
            if !found && rule.get(name).is_none() && envelope[n].is_none() {
                let why =
                    format!("`{name}` is missing: state it here, or for all rules under [event]");
                self.notes.note(&rule.at, &rule.span, why);
            }
        }
        let data = self.data(rule, event);
        let element = each.is_some().then(|| Tree::new(self.leave()));
        let each = match (array, element) {
            (Some(array), Some(element)) => Some(Each { array: array?, element }),
            _ => None,
        };
        let (data, lines, attributes, texts) = data?;
        Some(Becomes {
            each,
            tenant: tenant
                .or(common_tenant)
                .unwrap_or_else(|| plain(&shape::ENVELOPE[0], default_tenant())),
            source: source.or(common_source)?,
            id: id.or(common_id)?,
            time: time.or(common_time)?,
            event,
            data,
            lines,
            attributes,
            texts,
        })
    }

    #[allow(clippy::type_complexity)]
    fn data(
        &mut self,
        rule: &Place<'t>,
        event: EventType,
    ) -> Option<(Line, Option<Lines>, Box<[(Box<str>, Field)]>, Option<Texts>)> {
        let Some(part) = rule.get("data") else {
            self.notes.note(&rule.at, &rule.span, "`data` is missing");
            return None;
        };
        let data = self.notes.table(&part)?;
        let specs = shape::fields(event);
        let fields = self.fields(specs, &data, event.as_str());
        let part_of =
            |kind| specs.iter().find(|it| it.kind == kind).and_then(|it| data.get(it.name));
        let lines = part_of(Kind::Lines).map(|it| self.lines(&it));
        let attributes = part_of(Kind::Attributes).map(|it| self.attributes(&it));
        let texts = part_of(Kind::Texts).map(|it| self.texts(&it));
        let needs = |a: &str, b: &str| data.get(a).is_none() && data.get(b).is_none();
        if event == EventType::FeedbackSubmitted {
            for (a, b) in [("customer", "order"), ("rating", "text")] {
                if needs(a, b) {
                    let why = format!("feedback.submitted needs `{a}` or `{b}`");
                    self.notes.note(&data.at, &data.span, why);
                }
            }
        }
        if data.get("amount").is_some() && data.get("currency").is_none() {
            self.notes.note(&data.at, &data.span, "`amount` needs `currency`");
        }
        Some((
            fields,
            lines.map_or(Some(None), |it| it.map(Some))?,
            attributes.unwrap_or_default().into(),
            texts.map_or(Some(None), |it| it.map(Some))?,
        ))
    }

    /// The plain fields of a table, in the order of `specs`.
    fn fields(&mut self, specs: &'static [Spec], table: &Place<'t>, of: &str) -> Line {
        let names: Vec<&'static str> = specs.iter().map(|it| it.name).collect();
        let allowed: Vec<&'static str> = match of {
            "a line" => names.into_iter().chain(["each"]).collect(),
            _ => names,
        };
        self.notes.only(table, &allowed);
        let fields = specs.iter().map(|spec| {
            let part = table.get(spec.name);
            if part.is_none() && spec.required {
                let why = format!("{of} needs `{}`", spec.name);
                self.notes.note(&table.at, &table.span, why);
            }
            match spec.kind {
                Kind::Lines | Kind::Attributes | Kind::Texts => None,
                _ => self.field(spec, &part?),
            }
        });
        fields.collect()
    }

    fn lines(&mut self, part: &Part<'t>) -> Option<Lines> {
        if let Some(parts) = part.elements() {
            if parts.is_empty() || parts.len() > MAX_LINES {
                let why = format!("expected 1 to {MAX_LINES} lines");
                self.notes.note(&part.at, &part.span, why);
            }
            let mut lines = Vec::new();
            for part in &parts {
                let table = self.notes.table(part)?;
                lines.push(self.fields(&shape::LINE, &table, "a line"));
            }
            return Some(Lines::Fixed(lines));
        }
        let table = self.notes.table(part)?;
        let Some(array) = table.get("each") else {
            let why = "expected a list of lines, or one table with `each`";
            self.notes.note(&part.at, &part.span, why);
            return None;
        };
        let array = self.pointer(&array);
        self.enter();
        let line = self.fields(&shape::LINE, &table, "a line");
        let element = Tree::new(self.leave());
        Some(Lines::Each(Each { array: array?, element }, line))
    }

    fn attributes(&mut self, part: &Part<'t>) -> Vec<(Box<str>, Field)> {
        let Some(table) = self.notes.table(part) else { return Vec::new() };
        if table.table.len() > MAX_ATTRIBUTES {
            let why = format!("expected at most {MAX_ATTRIBUTES} attributes");
            self.notes.note(&part.at, &part.span, why);
        }
        let mut attributes = Vec::new();
        for (name, part) in table.parts() {
            if !crate::limits::is_identifier(name.get_ref()) {
                self.notes.note(&part.at, &name.span(), "expected a name of 1 to 128 bytes");
            }
            let field = self.field(&ATTRIBUTE, &part);
            attributes.extend(field.map(|it| ((&**name.get_ref()).into(), it)));
        }
        attributes
    }

    fn texts(&mut self, part: &Part<'t>) -> Option<Texts> {
        if let Some(parts) = part.elements() {
            if parts.len() > MAX_SKILLS {
                self.notes.note(&part.at, &part.span, format!("expected at most {MAX_SKILLS}"));
            }
            let fields = parts.iter().filter_map(|it| self.field(&SKILL, it));
            return Some(Texts::Fixed(fields.collect()));
        }
        let table = self.notes.table(part)?;
        self.notes.only(&table, &["each", "item"]);
        let Some(array) = table.get("each") else {
            let why = "expected a list of sources, or a table with `each`";
            self.notes.note(&part.at, &part.span, why);
            return None;
        };
        let array = self.pointer(&array);
        self.enter();
        let field = match table.get("item") {
            Some(part) => self.field(&SKILL, &part),
            None => self.slot_of("", part).map(|it| plain(&SKILL, Source::Slot(it))),
        };
        let element = Tree::new(self.leave());
        Some(Texts::Each(Each { array: array?, element }, field?))
    }
}

fn default_tenant() -> Source {
    Source::Constant(Constant::Text(DEFAULT_TENANT.into()))
}

/// Whether an id differs from element to element.
fn is_of_element(id: &Field) -> bool {
    let inside = |at: &Ref| at.level > 0;
    match &id.source {
        Source::Slot(at) => inside(at),
        Source::Pick(pick) => pick.first.iter().any(inside),
        Source::Template(pieces) => pieces.iter().any(|it| match it {
            Piece::Literal(_) => false,
            Piece::Slot(at) => inside(at),
            Piece::Place => true,
        }),
        Source::Constant(_) | Source::Sum(_) => false,
    }
}
