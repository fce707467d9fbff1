//! Settings with a channel of webhooks, and rules over open cases.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::fmt::Display;

use crate::process::Folder;

/// A settings file with the channel `ops` to a receiver, and these rules; its path.
pub fn settings(folder: &Folder, to: impl Display, rules: &str) -> String {
    folder.file("ops.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    folder.file(
        "millstream.toml",
        format!(
            "[channels.ops]\nkind = \"webhook\"\nurl = \"http://{to}/ops\"\n\
             secret_file = \"ops.secret\"\nallow = [\"{to}\"]\n{rules}"
        ),
    )
}

/// A rule of open cases.
pub fn rule(name: &str, more: &str) -> String {
    format!(
        "[rules.{name}]\nview = \"cases\"\nwhen = \"status == 'open' and severity == 1\"\n\
         episode = [\"opened_at\"]\nsince = \"opened_at\"\nchannel = \"ops\"\n\
         text = \"case {{{{ case }}}} of {{{{ customer }}}} waits\"\n{more}\n"
    )
}
