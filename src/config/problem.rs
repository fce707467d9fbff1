//! How a wrong setting is told.

use std::path::PathBuf;

use crate::report::Report;

/// Who said it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
    },
    /// A variable of the process.
    Variable(String),
    /// A flag, as it was written.
    Flag(String),
}

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The text cannot be read at all.
    Syntax,
    /// No setting has this name.
    Name,
    /// The setting cannot have this value.
    Value,
    /// Two settings do not go together.
    Conflict,
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// What kind.
    pub trouble: Trouble,
    /// Where.
    pub place: Place,
    /// The setting, `engine.workers`; empty if it is about the whole.
    pub setting: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// The nearest valid name.
    pub nearest: Option<String>,
}

impl ConfigProblem {
    /// As it is told.
    pub fn report(&self) -> Report {
        let (code, what) = match self.trouble {
            Trouble::Syntax => ("config/syntax", "cannot read the settings"),
            Trouble::Name => ("config/name", "cannot find a setting of this name"),
            Trouble::Value => ("config/value", "cannot use the value of a setting"),
            Trouble::Conflict => ("config/conflict", "cannot use two settings together"),
        };
        let mut at = match &self.place {
            Place::File { path, line } => {
                vec![("file", path.display().to_string()), ("line", line.to_string())]
            }
            Place::Variable(name) => vec![("variable", name.clone())],
            Place::Flag(flag) => vec![("flag", flag.clone())],
        };
        if !self.setting.is_empty() {
            at.push(("setting", self.setting.clone()));
        }
        let fix = match &self.nearest {
            Some(name) => format!("perhaps `{name}` was meant; docs/configuration.md has them all"),
            None => "correct it, then `millstream check`; docs/configuration.md has every setting"
                .to_string(),
        };
        Report {
            code,
            what: what.to_string(),
            at,
            why: format!("expected {}, found {}", self.expected, self.found),
            effect: "nothing was started; no data was touched".to_string(),
            fix,
        }
    }
}
