//! A mapping as it runs: what `compile` makes of the text and `build` follows.

use crate::events::{EventType, Status};
use crate::names::Currency;

use super::lookup::Lookup;
use super::slots::Tree;
use super::times::TimeFormat;

/// The whole of a mapping.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) record: Tree,
    /// First of these that is present says the type; none: every record is of one kind.
    pub(super) discriminator: Box<[Ref]>,
    pub(super) types: Lookup,
    /// For each type, its rules in the order of the text.
    pub(super) rules: Vec<Vec<Rule>>,
    pub(super) others: Others,
}

/// What becomes of records for which there is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Reject,
    Skip,
}

/// A slot: of the record (level 0), or of the element of an `each` inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) level: u8,
    pub(super) slot: u16,
}

/// What becomes of one kind of record.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) when: Option<When>,
    /// None: skip and count.
    pub(super) becomes: Option<Becomes>,
}

/// An event, or one for each element of an array.
#[derive(Debug)]
pub(super) struct Becomes {
    pub(super) each: Option<Each>,
    pub(super) tenant: Field,
    pub(super) source: Field,
    pub(super) id: Field,
    pub(super) time: Field,
    pub(super) event: EventType,
    /// In the order of `shape::fields`.
    pub(super) data: Box<[Option<Field>]>,
    pub(super) lines: Option<Lines>,
    pub(super) attributes: Box<[(Box<str>, Field)]>,
    pub(super) texts: Option<Texts>,
}

/// A condition on the record.
#[derive(Debug, Default)]
pub(super) struct When {
    pub(super) present: Vec<Ref>,
    pub(super) absent: Vec<Ref>,
    pub(super) equal: Vec<(Ref, Vec<String>)>,
    pub(super) differ: Vec<(Ref, Ref)>,
}

/// The elements of an array, and what is wanted of each.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) array: Ref,
    pub(super) element: Tree,
}

/// Lines of an order.
#[derive(Debug)]
pub(super) enum Lines {
    Fixed(Vec<Line>),
    Each(Each, Line),
}

/// In the order of `shape::LINE`.
pub(super) type Line = Box<[Option<Field>]>;

/// A list of texts.
#[derive(Debug)]
pub(super) enum Texts {
    Fixed(Vec<Field>),
    Each(Each, Field),
}

/// Where one field comes from and how it is read.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) source: Source,
    pub(super) required: bool,
    pub(super) written: Written,
    pub(super) null_withdraws: bool,
    /// Decimals of an amount: 0 where it is in minor units.
    pub(super) decimals: u8,
    pub(super) time: Option<TimeFormat>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// As it stands at one pointer.
    Slot(Ref),
    /// The first that is there, through a table, or by default.
    Pick(Box<Pick>),
    Constant(Constant),
    Template(Box<[Piece]>),
    /// Amounts added.
    Sum(Box<[Ref]>),
}

/// The longer way to a value.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) first: Vec<Ref>,
    pub(super) empty_is_absent: bool,
    pub(super) table: Option<Table>,
    pub(super) default: Option<Constant>,
}

/// Found text to value.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) names: Lookup,
    pub(super) values: Vec<Constant>,
    pub(super) otherwise: Option<Constant>,
}

/// A value that the mapping itself states, checked when it was compiled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Text(Box<str>),
    Integer(i64),
    Status(Status),
    Currency(Currency),
}

/// A part of a template.
#[derive(Debug)]
pub(super) enum Piece {
    Literal(Box<str>),
    Slot(Ref),
    /// The place of the element in its `each`, from 1.
    Place,
}

/// How a value is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Text,
    Number,
    Either,
}
