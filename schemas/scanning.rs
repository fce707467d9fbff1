//! Rows in no order, and only the fields that are wanted: how a view is read as a table.
//!
//! # Meaning
//! [`ViewReader::scan`](crate::reading::ViewReader::scan) gives every row of a tenant at one epoch
//! once, that passes all tests. A test says less than SQL's comparison may: what it lets pass is
//! compared again by whoever asked; what it drops could not have been equal (or in the range).

use crate::rows::Value;

/// Where a scan stands. Begins at its default; is over when [`Scan::over`] says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The shard that is read, over all workers.
    pub shard: usize,
    /// The first slot of it that was not looked at.
    pub slot: u32,
    /// Everything was looked at.
    pub over: bool,
}

/// What is wanted of each row.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Places of fields in the definition, in the order in which their values are given.
    pub fields: Vec<usize>,
    /// All of them must pass.
    pub tests: Vec<Test>,
}

/// A comparison of one field with a value of the same kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The field's place in the definition.
    pub field: usize,
    /// What it must be.
    pub is: Is,
}

/// What a value must be. Nothing passes that is null or of another kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Is {
    /// The same.
    Equal(Value),
    /// This or above.
    AtLeast(Value),
    /// Below this.
    Below(Value),
}

impl Is {
    /// Whether a value is.
    pub fn passes(&self, value: &Value) -> bool {
        match self {
            Is::Equal(it) => compare(value, it).is_some_and(std::cmp::Ordering::is_eq),
            Is::AtLeast(it) => compare(value, it).is_some_and(std::cmp::Ordering::is_ge),
            Is::Below(it) => compare(value, it).is_some_and(std::cmp::Ordering::is_lt),
        }
    }
}

/// Texts by their bytes; `None`: not of the same kind, or of one that has no order.
fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a test drops what could not be equal or in the range, and nothing else. Method: a
    /// table over kinds.
    #[test]
    fn only_values_of_one_kind_compare() {
        let check = |is: Is, value: Value, expected: bool| {
            assert_eq!(is.passes(&value), expected, "{is:?} {value:?}");
        };
        check(Is::Equal(Value::Text("a".into())), Value::Text("a".into()), true);
        check(Is::Equal(Value::Text("a".into())), Value::Text("A".into()), false);
        check(Is::Equal(Value::Int(1)), Value::Bool(true), false);
        check(Is::AtLeast(Value::Int(1)), Value::Int(1), true);
        check(Is::Below(Value::Int(1)), Value::Int(1), false);
        check(Is::Below(Value::Time(5)), Value::Time(4), true);
        check(Is::Below(Value::Time(5)), Value::Null, false);
        check(Is::Equal(Value::Null), Value::Null, false);
    }
}
