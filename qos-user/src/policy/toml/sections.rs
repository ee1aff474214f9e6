//! Where in the tree a header or a dotted key leads, and which of them TOML forbids after one another.

use crate::policy::{
    source::Span,
    tree::{Key, Kind, Node, Opened, Table},
};

/// Two keys that cannot both be, and where they are.
pub(super) struct Conflict {
    pub key: Key,
    pub first: Span,
}

/// The table below `table` to which `path` leads; tables that are not there yet are made.
pub(super) fn descend<'t>(mut table: &'t mut Table, path: &[Key], by: Opened) -> Result<&'t mut Table, Conflict> {
    for key in path {
        let entry = table.entry_or(key, || Kind::Table(Table::opened(by)));
        let conflict = Conflict { key: key.clone(), first: entry.key.span };
        table = match inner_table(&mut entry.value.kind, by) {
            Some(table) if admits(table.opened, by) => table,
            _ => return Err(conflict),
        };
    }
    Ok(table)
}

/// The table that a value is, or for a header below `[[a]]` the last of its tables.
fn inner_table(kind: &mut Kind, by: Opened) -> Option<&mut Table> {
    match kind {
        Kind::Table(table) => Some(table),
        Kind::Array(items) if by == Opened::Implicit => match &mut items.last_mut()?.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a table may be added to by a header below it, or by a dotted key.
fn admits(opened: Opened, by: Opened) -> bool {
    match opened {
        Opened::Inline => false,
        Opened::Dotted => true,
        Opened::Implicit | Opened::Header => by == Opened::Implicit,
    }
}

/// Puts a value under a dotted key.
pub(super) fn put(table: &mut Table, keys: &[Key], node: Node) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let table = descend(table, path, Opened::Dotted)?;
    table.insert(last.clone(), node).map_err(|first| Conflict { key: last.clone(), first })
}

/// Opens the table of a header `[a.b]`.
pub(super) fn open_section(root: &mut Table, keys: &[Key]) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let entry = descend(root, path, Opened::Implicit)?.entry_or(last, || Kind::Table(Table::opened(Opened::Implicit)));
    match &mut entry.value.kind {
        Kind::Table(table) if table.opened == Opened::Implicit => {
            table.opened = Opened::Header;
            entry.key.span = last.span;
            Ok(())
        }
        _ => Err(Conflict { key: last.clone(), first: entry.key.span }),
    }
}

/// Opens a further table of the array of a header `[[a.b]]`.
pub(super) fn open_array(root: &mut Table, keys: &[Key]) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let table = descend(root, path, Opened::Implicit)?;
    let made = table.get(&last.text).is_none();
    let entry = table.entry_or(last, || Kind::Array(Vec::new()));
    match &mut entry.value.kind {
        Kind::Array(items) if made || is_of_headers(items) => {
            items.push(Node { kind: Kind::Table(Table::opened(Opened::Header)), span: last.span });
            Ok(())
        }
        _ => Err(Conflict { key: last.clone(), first: entry.key.span }),
    }
}

/// An array in brackets is complete, and so are the tables in it.
fn is_of_headers(items: &[Node]) -> bool {
    items.last().is_some_and(|item| matches!(&item.kind, Kind::Table(table) if table.opened != Opened::Inline))
}
