//! Conditions and texts over a row: a kept expression language, behind one trait.
//!
//! In: expressions and templates of Jinja (minijinja), rows. Out: whether a condition is met; what
//! is said.
//!
//! # Invariants
//! - Compiled once; no I/O, no clock, no other row: the same row gives the same answer for ever.
//! - Bounded: [`CONDITION_FUEL`] and [`TEXT_FUEL`] steps, [`TEXT_MAX`] bytes.
//! - No functions, only fields, filters and tests. A field that is not there is an error, never
//!   nothing: it is told when rules are compiled where that can be told, else by the row on which
//!   it is met.
//!
//! # Why this way
//! One language for conditions and texts is one thing to learn and one crate to build (eleven
//! CPU-seconds; CEL has forty crates). Who wants another implements [`Condition`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::LazyLock;

use minijinja::value::{Enumerator, Object, Serde};
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior, Value as Jinja};
use schemas::rows::{FieldKind, Row, Value, ViewDef};

/// Steps of one condition over one row: some microseconds.
pub(super) const CONDITION_FUEL: u64 = 10_000;
/// Steps of one text: a loop over the lines of an order has room.
pub(super) const TEXT_FUEL: u64 = 100_000;
/// Bytes of one text; an event's text may have 32 KiB.
pub(super) const TEXT_MAX: usize = 16 * 1024;

/// A row as conditions and texts see it; made once for all of them.
#[derive(Clone, Debug)]
pub(super) struct Facts(Jinja);

impl Facts {
    /// Of a row of a view.
    pub(super) fn of(def: &'static ViewDef, row: &Row) -> Facts {
        Facts(Jinja::from_object(Fields { def, row: row.clone() }))
    }
}

/// Whether a row is meant: pure, and bounded.
pub(super) trait Condition: Send + Sync {
    /// Whether it is; in words, why that cannot be told of this row.
    fn holds(&self, facts: &Facts) -> Result<bool, String>;
}

/// What a field is asked for by its name.
#[derive(Debug)]
struct Fields {
    def: &'static ViewDef,
    row: Row,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let place = self.def.position(key.as_str()?)?;
        self.row.values.get(place).map(jinja)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// Times are texts, as everywhere outside.
fn jinja(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(it) => Jinja::from(*it),
        Value::Int(it) => Jinja::from(*it),
        Value::Text(it) => Jinja::from(it.as_str()),
        Value::Time(it) => Jinja::from(schemas::time::rfc3339(*it)),
        Value::Json(it) => Jinja::from(Serde(it)),
    }
}

fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(fuel));
    environment
}

static CONDITIONS: LazyLock<Environment<'static>> = LazyLock::new(|| environment(CONDITION_FUEL));

/// What is wrong with an expression or a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It cannot be read: why.
    Syntax(String),
    /// A field that the view does not have.
    Field(String),
}

struct Compiled(Expression<'static, 'static>);

impl Condition for Compiled {
    fn holds(&self, facts: &Facts) -> Result<bool, String> {
        let value = self.0.eval(facts.0.clone()).map_err(|why| words(&why))?;
        Ok(value.is_true())
    }
}

/// Compiles a condition over the rows of a view: it, and the places of the fields that it asks for.
pub(super) fn condition(
    text: &str,
    def: &'static ViewDef,
) -> Result<(Arc<dyn Condition>, Vec<usize>), Wrong> {
    let compiled = CONDITIONS
        .compile_expression_owned(text.to_string())
        .map_err(|why| Wrong::Syntax(words(&why)))?;
    let fields = known(compiled.undeclared_variables(false), def)?;
    let compiled = Compiled(compiled);
    if let Err(why) = compiled.0.eval(sample(def).0)
        && names_nothing(why.kind())
    {
        return Err(Wrong::Syntax(words(&why)));
    }
    Ok((Arc::new(compiled), fields))
}

/// The texts of some rules, each under a name.
#[derive(Debug)]
pub(super) struct Texts(Environment<'static>);

impl Default for Texts {
    fn default() -> Texts {
        Texts(environment(TEXT_FUEL))
    }
}

impl Texts {
    /// Compiles a text over the rows of a view.
    pub(super) fn add(
        &mut self,
        name: &str,
        text: &str,
        def: &'static ViewDef,
    ) -> Result<(), Wrong> {
        let syntax = |why: minijinja::Error| Wrong::Syntax(words(&why));
        self.0.add_template_owned(name.to_string(), text.to_string()).map_err(syntax)?;
        let template = self.0.get_template(name).map_err(syntax)?;
        known(template.undeclared_variables(false), def)?;
        if let Err(why) = template.render(sample(def).0)
            && names_nothing(why.kind())
        {
            return Err(Wrong::Syntax(words(&why)));
        }
        Ok(())
    }

    /// What is said of a row; in words, why nothing is.
    pub(super) fn say(&self, name: &str, facts: &Facts) -> Result<String, String> {
        let template = self.0.get_template(name).map_err(|why| words(&why))?;
        let mut page = Page::default();
        match template.render_captured_to(facts.0.clone(), &mut page) {
            _ if page.is_full => Err(format!("expected at most {TEXT_MAX} bytes")),
            Ok(_) => String::from_utf8(page.text).map_err(|why| why.to_string()),
            Err(why) => Err(words(&why)),
        }
    }
}

/// What is written of a text, up to [`TEXT_MAX`]: the first byte beyond ends its making.
#[derive(Default)]
struct Page {
    text: Vec<u8>,
    is_full: bool,
}

impl io::Write for &mut Page {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > TEXT_MAX - self.text.len() {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The places of these fields, in the order of their names; or the first that is none.
fn known(names: std::collections::HashSet<String>, def: &ViewDef) -> Result<Vec<usize>, Wrong> {
    let names: BTreeSet<String> = names.into_iter().collect();
    names.into_iter().map(|it| def.position(&it).ok_or(Wrong::Field(it))).collect()
}

/// A row of which every field is said: what a filter or a test that is not there fails on.
fn sample(def: &'static ViewDef) -> Facts {
    let value = |kind: FieldKind| match kind {
        FieldKind::Text => Value::Text("text".into()),
        FieldKind::Int => Value::Int(1),
        FieldKind::Bool => Value::Bool(true),
        FieldKind::Time => Value::Time(1_767_225_600_000_000),
        FieldKind::Money => Value::Json(serde_json::json!({"EUR": 100})),
        FieldKind::Json => Value::Json(serde_json::json!([])),
    };
    let values = def.fields.iter().map(|it| value(it.kind)).collect();
    Facts::of(def, &Row { values })
}

/// An error that every row would meet.
fn names_nothing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
            | ErrorKind::TemplateNotFound
    )
}

fn words(why: &minijinja::Error) -> String {
    let detail = why.detail().map(|it| format!(": {it}")).unwrap_or_default();
    format!("{}{detail}", why.kind())
}

#[cfg(test)]
mod tests {
    use schemas::rows::{FieldDef, Shape};

    use super::*;

    static DEF: ViewDef = ViewDef {
        name: "orders",
        words: "",
        shape: Shape::Fold,
        key: &["order"],
        fields: &[
            FieldDef::new("order", FieldKind::Text, false, false, ""),
            FieldDef::new("n", FieldKind::Int, true, false, ""),
            FieldDef::new("since", FieldKind::Time, true, false, ""),
            FieldDef::new("amount", FieldKind::Money, false, false, ""),
        ],
    };

    fn row(n: Option<i64>) -> Facts {
        let values = vec![
            Value::Text("O<1>".into()),
            n.map_or(Value::Null, Value::Int),
            Value::Time(1_767_225_600_000_000),
            Value::Json(serde_json::json!({"EUR": 1200})),
        ];
        Facts::of(&DEF, &Row { values })
    }

    /// Goal: conditions mean what they say, and what cannot be told of a row is told, not guessed.
    #[test]
    fn conditions() {
        let check = |text: &str, n: Option<i64>, expected: Result<bool, &str>| {
            let found = condition(text, &DEF).unwrap().0.holds(&row(n));
            let found = found.as_ref().map(|it| *it).map_err(String::as_str);
            assert_eq!(found.map_err(|it| it.split(':').next().unwrap()), expected, "{text}");
        };
        check("n > 3", Some(4), Ok(true));
        check("n > 3", Some(3), Ok(false));
        check("n is none", None, Ok(true));
        check("n is not none and n > 3", None, Ok(false));
        check("amount.EUR >= 1200 and since < '2026-02'", Some(1), Ok(true));
        check("amount.USD > 1", Some(1), Err("undefined value"));
        check("order in ['O<1>', 'b']", Some(1), Ok(true));
    }

    /// Goal: what can be told before any row is told then.
    #[test]
    fn what_is_wrong_is_told_at_once() {
        let check = |text: &str, expected: Wrong| {
            assert_eq!(condition(text, &DEF).err().unwrap(), expected, "{text}");
        };
        check("ordr == 'x'", Wrong::Field("ordr".into()));
        check("order|shout", Wrong::Syntax("unknown filter: filter shout is unknown".into()));
        assert!(matches!(condition("order ==", &DEF).err().unwrap(), Wrong::Syntax(_)));
        let mut texts = Texts::default();
        assert_eq!(texts.add("a", "{{ nn }}", &DEF), Err(Wrong::Field("nn".into())));
        assert!(matches!(texts.add("a", "{{ n", &DEF), Err(Wrong::Syntax(_))));
    }

    /// Goal: a text is whole or an error, and no text runs for long.
    #[test]
    fn texts_are_whole() {
        let mut texts = Texts::default();
        let mut say = |text: &str| {
            texts.add("a", text, &DEF).unwrap();
            texts.say("a", &row(None))
        };
        assert_eq!(say("{{ order }} costs {{ amount.EUR / 100 }}").unwrap(), "O<1> costs 12.0");
        assert!(say("{{ order }} {{ amount.USD }}").unwrap_err().starts_with("undefined value"));
        let (begin, end) = ("{% for a in order %}".repeat(12), "{% endfor %}".repeat(12));
        assert!(say(&format!("{begin}{end}")).unwrap_err().starts_with("engine ran out of fuel"));
        // As long as it may be, and a byte more; what is far longer is not made first.
        let of = |n: usize| "x".repeat(n);
        assert_eq!(say(&of(TEXT_MAX)).unwrap().len(), TEXT_MAX);
        let (begin, end) = ("{% for a in order %}".repeat(5), "{% endfor %}".repeat(5));
        for long in [of(TEXT_MAX + 1), format!("{begin}{}{end}", of(10_000))] {
            assert_eq!(say(&long).unwrap_err(), "expected at most 16384 bytes");
        }
    }
}
