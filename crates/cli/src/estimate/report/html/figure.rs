//! A chart with its heading, its key and a table of the same figures; tables that scroll in a box.

use crate::estimate::report::html::markup::Markup;

#[derive(Debug)]
pub(super) struct Figure {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// One or two sentences: the content, and how to read it.
    pub(super) about: String,
    /// The drawings, and the text between them.
    pub(super) charts: Markup,
    pub(super) key: Vec<KeyEntry>,
    pub(super) table: Table,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct KeyEntry {
    /// The outline of the mark; `None`: a square.
    pub(super) path: Option<&'static str>,
    pub(super) class: &'static str,
    pub(super) meaning: &'static str,
}

const SQUARE: &str = "M-6 -6h12v12h-12z";

/// The first `names` columns identify a row.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) names: usize,
    /// The column of paths, which break to fit.
    pub(super) paths: Option<usize>,
    pub(super) headings: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(names: usize, headings: &[&str]) -> Self {
        let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
        Self { names, paths: None, headings, rows: Vec::new() }
    }

    /// `label` names the scrolling box for screen readers.
    pub(super) fn write(&self, label: &str, to: &mut Markup) {
        // The keyboard can reach a scrolling box.
        let place =
            [("class", "scroll"), ("role", "region"), ("tabindex", "0"), ("aria-label", label)];
        to.within("div", &place, |place| {
            place.within("table", &[], |table| {
                table.within("thead", &[], |head| {
                    head.within("tr", &[], |row| {
                        for (index, heading) in self.headings.iter().enumerate() {
                            let class = if index < self.names { "name" } else { "figure" };
                            row.element("th", &[("scope", "col"), ("class", class)], heading);
                        }
                    });
                });
                table.within("tbody", &[], |body| {
                    for cells in &self.rows {
                        body.within("tr", &[], |row| self.write_cells(cells, row));
                    }
                });
            });
        });
    }

    fn write_cells(&self, cells: &[String], row: &mut Markup) {
        for (index, cell) in cells.iter().enumerate() {
            if index == 0 {
                row.element("th", &[("scope", "row"), ("class", "name")], cell);
            } else {
                row.element("td", &[("class", self.class(index))], cell);
            }
        }
    }

    fn class(&self, column: usize) -> &'static str {
        match column {
            _ if self.paths == Some(column) => "path",
            _ if column < self.names => "name",
            _ => "figure",
        }
    }
}

impl Figure {
    pub(super) fn write(&self, to: &mut Markup) {
        to.within("figure", &[("class", "card"), ("id", self.id)], |figure| {
            figure.within("figcaption", &[], |caption| {
                caption.element("h2", &[], self.title);
                caption.element("p", &[], &self.about);
            });
            figure.append(&self.charts);
            if !self.key.is_empty() {
                figure.within("ul", &[("class", "key")], |list| {
                    for entry in &self.key {
                        entry.write(list);
                    }
                });
            }
            figure.within("details", &[], |details| {
                details.element("summary", &[], "The same figures as a table");
                self.table.write(&format!("{} as a table", self.title), details);
            });
        });
    }
}

impl KeyEntry {
    fn write(&self, list: &mut Markup) {
        list.within("li", &[], |item| {
            let place = [("class", "swatch"), ("viewBox", "-9 -9 18 18"), ("aria-hidden", "true")];
            item.within("svg", &place, |swatch| {
                swatch.leaf("path", &[("d", self.path.unwrap_or(SQUARE)), ("class", self.class)]);
            });
            item.text(self.meaning);
        });
    }
}
