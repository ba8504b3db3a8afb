//! `[table.NAME]`: files that extensions look keys up in. What is in a file is for whoever reads it.

use std::path::PathBuf;

use super::Place;
use super::listener::check_name;
use super::reader::Value;

/// One `[table.NAME]`.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// NAME.
    pub name: String,
    /// The file. Absolute.
    pub file: PathBuf,
    /// Where it stands in the text.
    pub place: Place,
    /// What its keys are.
    pub kind: TableType,
}

/// What the keys of a table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableType {
    /// Looked up whole, without case.
    #[default]
    Hash,
    /// Networks, of which the narrowest holds.
    Cidr,
    /// Regular expressions, of which the first holds.
    Pattern,
}

const TYPES: [(&str, TableType); 3] =
    [("hash", TableType::Hash), ("cidr", TableType::Cidr), ("pattern", TableType::Pattern)];

impl TableFile {
    /// `[table.NAME]`, from the value under NAME.
    pub(super) fn read(value: Value<'_>) -> Option<TableFile> {
        check_name("a table", value);
        let mut table = value.table()?;
        let file = table.require("file", &format!("\"{}.txt\"", value.name));
        let kind = table.take("type").and_then(|value| value.choice(&TYPES));
        table.finish();
        Some(TableFile {
            name: value.name.to_owned(),
            file: file.and_then(Value::path)?,
            place: file?.place,
            kind: kind.unwrap_or_default(),
        })
    }
}
