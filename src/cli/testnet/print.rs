//! Answers on standard output: tables for people, objects for programs.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::record::NodeRecord;

/// One object on a line of its own.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(value)?)?)
}

/// A line of text.
pub fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Columns as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    line(&layout(head, rows))
}

/// Who there is and where.
pub fn nodes(nodes: &[NodeRecord]) -> anyhow::Result<()> {
    let row = |node: &NodeRecord| {
        let pid = node.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
        vec![node.name.clone(), pid, node.id.clone(), node.api.clone(), node.p2p.join(" ")]
    };
    table(&["NAME", "PID", "ID", "API", "P2P"], &nodes.iter().map(row).collect::<Vec<_>>())
}

/// A bar on standard error; nothing where that is not a terminal.
pub fn bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {elapsed:>4} {msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn layout(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| cell.to_string()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let row = |row: &&Vec<String>| {
        let cells = row.iter().enumerate().map(|(n, cell)| format!("{cell:<0$}", width(n).unwrap_or(0)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    all.iter().map(row).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["node-10".into(), "1".into()], vec!["n".into(), "22".into()]];
        assert_eq!(layout(&["NAME", "PID"], &rows), "NAME     PID\nnode-10  1\nn        22");
    }
}
