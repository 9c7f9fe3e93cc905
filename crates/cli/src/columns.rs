//! Tables as text.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// The first `names` columns are aligned left, figures right.
pub(crate) fn lay_out(
    names: usize,
    header: Vec<String>,
    lines: impl Iterator<Item = Vec<String>>,
) -> String {
    let cells = |line: Vec<String>| {
        let align = |(index, text)| {
            let side = if index < names { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        };
        line.into_iter().enumerate().map(align).collect::<Vec<_>>()
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(cells(header));
    for line in lines {
        table.add_row(cells(line));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if index == 0 { (0, 0) } else { (1, 0) });
    }
    table.trim_fmt()
}
